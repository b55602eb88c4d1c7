def test_curl_gets_back_what_it_sent(server, tmp_path):
    sent = bytes(range(256)) * 3000
    (tmp_path / "sent").write_bytes(sent)
    done = server.curl("/x", "--data-binary", f"@{tmp_path / 'sent'}")
    assert done.stdout == sent
    (head, figures) = server.notes.answers[0]
    assert (head.method, head.path, figures.status) == ("POST", b"/x", 200)
