import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.app.owner.sample_codec import decode_values, encode_values
from inferonnx.runtime.addresses import address_of
from inferonnx.tensors import as_tensor

leaves = st.one_of(
    st.lists(st.floats(width=32), max_size=5).map(lambda v: as_tensor(np.array(v, np.float32))),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3).map(
        lambda v: as_tensor(np.array(v, object))
    ),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=6), trees, max_size=3))
def test_samples_survive_the_pipe(sample):
    assert decode_values(encode_values(sample)) == sample


@given(st.text(max_size=9))
def test_tensors_lie_where_a_session_reads_them_without_a_copy(name):
    content = encode_values({name: as_tensor(np.arange(5.0))})
    tensor = decode_values(content)[name]
    buffer, address = address_of(tensor.data)
    assert address % 8 == 0
    assert not np.shares_memory(np.asarray(buffer), np.frombuffer(content, np.uint8))
