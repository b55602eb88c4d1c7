"""The table of verbs: the overview, the help texts and docs/cli.md are drawn from it."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb of the command line.

    Attributes:
        module: Its module in this package. Only the module of the verb that is called
            gets imported: `run` has a budget to keep.
        overview: What it does, in half a line.
    """

    module: str
    overview: str


VERBS = {
    "demo": Verb("demo", "seal a trained model, run it in little memory, watch a forgery fail"),
    "keygen": Verb("keys", "make the owner's key file"),
    "plan": Verb("plan", "show how a model would be cut for a memory budget"),
    "seal": Verb("seal", "turn an ONNX model into one encrypted, signed file"),
    "run": Verb("run", "run a sealed model inside a memory budget"),
    "serve": Verb("serve", "serve sealed models over TLS to Triton's, KServe's and any client"),
    "push": Verb("push", "send a sealed model to a server"),
    "unlock": Verb("unlock", "hand a model's data key to a server, as its owner"),
    "list": Verb("listing", "list the models of a server"),
    "infer": Verb("infer", "ask a served model"),
    "load": Verb("load", "open a served model now"),
    "unload": Verb("load", "close a served model and forget its key"),
    "delete": Verb("unlock", "delete a served model, as its owner"),
    "csr": Verb("certificates", "ask a server for a certificate signing request"),
    "install-cert": Verb("certificates", "give a server the certificate of a CA"),
    "top": Verb("top", "show what a server is doing, live in a terminal"),
    "proxy": Verb("proxy", "verified TLS to a server, for clients that can't verify"),
    "inspect": Verb("inspect", "say what a sealed file is"),
    "check": Verb("inspect", "check every byte of a sealed file"),
    "rewrap": Verb("keys", "give a sealed file to a new wrapping key"),
    "token": Verb("token", "make a token for clients of a server"),
    "verify": Verb("verify", "compare a sealed model with plain onnxruntime"),
    "partition": Verb("partition", "cut a model into plain ONNX files that run one after another"),
    "verify-partitions": Verb("partition", "compare a model with the chain of its partitions"),
    "profile": Verb("profile", "show where a model's memory and time go, by operator"),
    "zoo": Verb("zoo", "build published models, fetch trained ones"),
    "paper": Verb("paper", "repeat the paper: its artifact's commands"),
    "epc": Verb("epc", "run a command under a memory limit, as an EPC would hold it"),
    "bench": Verb("bench", "measure the sealed stream against plain onnxruntime"),
}
