from inferonnx.cli import main


def test_unload_locks_and_load_does_not_unlock(served, key_path, sealed_cnn, capsys):
    rest = ["cnn", *served.trust, "--token-file", str(served.tokens["manage"])]
    assert main(["load", served.url, *rest]) == 0
    assert capsys.readouterr().out == "cnn loaded\n"
    assert main(["unload", served.url, *rest]) == 0
    assert capsys.readouterr().out == "cnn unloaded\n"
    try:
        assert main(["load", served.url, *rest]) == 5
        assert "not unlocked" in capsys.readouterr().err
    finally:
        copy = ["--model", str(sealed_cnn), "--key", str(key_path)]
        assert main(["unlock", served.url, "cnn", *copy, *served.trust]) == 0


def test_a_model_that_is_not_there(served, capsys):
    rest = ["other", *served.trust, "--token-file", str(served.tokens["manage"])]
    assert main(["load", served.url, *rest]) == 2
    assert "other" in capsys.readouterr().err
