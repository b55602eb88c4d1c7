import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.app.owner.sample_codec import decode_values, encode_values
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
