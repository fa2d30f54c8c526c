"""A packed model computes what its checkpoint does, in as many bytes as were counted."""

import re

import numpy as np
import pytest

from sspq import models
from sspq.analysis.layers import read_layers
from sspq.analysis.size import MIB, model_size
from sspq.analysis.summary import summarize
from sspq.checkpoints.source import open_checkpoint, read_values
from sspq.compat import tf
from sspq.export.packed import container
from sspq.export.packed.container import PackedFileError
from sspq.export.packed.encoding import encode_float
from sspq.export.packed.pack import pack, unpack
from sspq.inference.predictor import of_packed
from sspq.quantizers.scope import WeightBits, WeightScope
from sspq.slq import cluster, initial_centres
from tests.export.models import one_nan, save, small
from tests.graphs.golden import load

NOTHING = re.compile(r"(?!)")


def one_bit():
    """L-SSPQ50 at one bit."""
    return models.build("lspq50", bitw=1, image_size=64)


@pytest.fixture
def l_sspq50(saved):
    return saved(one_bit)


@pytest.fixture
def sspq34(saved):
    return saved(bitw=4, bita=4).source


def stored(packed, folder):
    path = str(folder / "m.sspq.safetensors")
    return container.write(path, packed), container.read(path)


def check_bit_exact(source, packed):
    variables, quantized = read_values(source)
    values = unpack(packed).values
    assert set(values) == set(variables)
    for name, expected in {**variables, **quantized}.items():
        assert values[name].dtype == np.float32
        assert values[name].tobytes() == expected.tobytes(), name


@pytest.mark.slow
def test_sspq34_comes_back_bit_by_bit_at_every_width(tmp_path):
    model = small()
    # A width for each block: all of them in one graph.
    blocks = ["conv2blk1", "conv2blk2", "conv3blk1", "conv3blk2", "conv4blk1", "conv4blk2"]
    blocks += ["conv5blk1", "conv5blk2"]
    rules = [
        (WeightScope(re.compile(name + ".*/W$"), NOTHING), bits + 1)
        for bits, name in enumerate(blocks)
    ]
    model.weight_bits = WeightBits(tuple(rules))
    source = save(tmp_path, model)
    _, packed = stored(pack(source), tmp_path)
    for bits, name in enumerate(blocks):
        assert packed.tensors[name + "/conv1x1a/W"].bits == bits + 1
    check_bit_exact(source, packed)


@pytest.mark.parametrize("variant, kernels", [("paper", 34), ("released", 3)])
def test_both_variants_come_back_bit_by_bit(variant, kernels, saved, tmp_path):
    source = saved(bitw=3, variant=variant).source
    _, packed = stored(pack(source), tmp_path)
    assert sum(t.scheme != "float" for t in packed.tensors.values()) == kernels
    check_bit_exact(source, packed)


@pytest.mark.slow
def test_l_sspq50_comes_back_bit_by_bit(l_sspq50, tmp_path):
    _, packed = stored(l_sspq50.packed, tmp_path)
    assert {t.scheme for t in packed.tensors.values()} == {"sign", "float"}
    check_bit_exact(l_sspq50.source, packed)
    np.testing.assert_array_equal(of_packed(packed).logits(l_sspq50.images), l_sspq50.logits)


def correlation(packed, saved):
    """Of a packed model's logits with the checkpoint's."""
    got = of_packed(packed).logits(saved.images)
    return np.corrcoef(got.ravel(), saved.logits.ravel())[0, 1]


@pytest.mark.slow
def test_l_sspq50_at_one_bit_has_the_published_size(l_sspq50, tmp_path):
    size, packed = stored(pack(l_sspq50.source, fold_bn=True), tmp_path)
    counted = summarize(l_sspq50.model).totals.quantized_bytes
    assert packed.nbytes == counted
    assert size < 1.01 * counted and size <= 3.60 * MIB
    assert correlation(packed, l_sspq50) > 0.999


@pytest.mark.slow
def test_l_sspq50_fits_below_2_2_mib_with_an_8_bit_linear_layer(l_sspq50, tmp_path):
    options = dict(fold_bn=True, rest="float16", linear_bits=8)
    size, packed = stored(pack(l_sspq50.source, **options), tmp_path)
    assert size < 2.2 * MIB
    assert correlation(packed, l_sspq50) > 0.99


@pytest.mark.parametrize("fold_bn", [False, True])
def test_the_bytes_are_the_counted_ones(fold_bn, sspq34):
    totals = summarize(sspq34.model).totals
    averages = 0 if fold_bn else 4 * totals.averages
    assert pack(sspq34, fold_bn).nbytes == totals.quantized_bytes + averages


@pytest.fixture(scope="module")
def clustered(tmp_path_factory):
    """SSPQ34 with up to 17 different values in each kernel, and how many these are."""
    model = small(bitw=32)
    centres = {}

    def cluster_kernels(sess):
        kernels = [v for v in tf.trainable_variables() if v.op.name.endswith("/W")]
        shared = {}
        for v, weights in zip(kernels, sess.run(kernels)):
            found = cluster(weights, initial_centres(weights, 5))
            shared[v] = found.centres.astype(np.float32)[found.index].reshape(weights.shape)
            centres[v.op.name] = len(np.unique(shared[v]))
        load(sess, shared)

    with tf.Graph().as_default():
        return save(tmp_path_factory.mktemp("clustered"), model, cluster_kernels), centres


@pytest.mark.parametrize("fold_bn", [False, True])
@pytest.mark.slow
def test_a_small_network_of_codebooks_is_as_small_as_counted(fold_bn, clustered, tmp_path):
    source, centres = clustered
    variables = [v for layer in read_layers(source.model) for v in layer.variables]
    trainable = [(name, shape) for name, shape, is_trainable in variables if is_trainable]
    counted = model_size(trainable, source.model.weight_bits, centres).quantized_bytes
    counted += 0 if fold_bn else 4 * summarize(source.model).totals.averages
    size, packed = stored(pack(source, fold_bn), tmp_path)
    assert len(centres) > 30 and packed.nbytes == counted
    assert counted < size <= 1.01 * counted + 120 * len(packed.tensors)
    if not fold_bn:
        check_bit_exact(source, packed)


def test_entropy_coded_it_is_smaller_and_the_same(clustered, tmp_path):
    source, _ = clustered
    packed = pack(source)
    plain = container.write(str(tmp_path / "plain"), packed)
    assert container.write(str(tmp_path / "xz"), packed, "xz") < 0.97 * plain
    check_bit_exact(source, container.read(str(tmp_path / "xz")))


def test_logits_are_the_checkpoint_s_to_the_bit(saved):
    s = saved(bitw=4, bita=4)
    np.testing.assert_array_equal(of_packed(s.packed).logits(s.images), s.logits)


def test_folded_norms_give_the_same_logits_in_float32(saved):
    s = saved(bitw=4)
    folded = of_packed(pack(s.source, fold_bn=True)).logits(s.images)
    np.testing.assert_allclose(folded, s.logits, atol=1e-5 * np.abs(s.logits).max())


def test_weights_of_few_values_get_their_codebook(tmp_path):
    """As single-level quantization leaves them: any kernel, the first and the last included."""

    def share_weights(sess):
        kernels = [v for v in tf.global_variables() if v.op.name in ("conv1/W", "fct/W")]
        found = zip(kernels, sess.run(kernels))
        load(sess, {v: np.round(w / np.abs(w).max() * 8) / 64 for v, w in found})

    source = save(tmp_path, small(bitw=32), share_weights)
    packed = pack(source)
    for name in ("conv1/W", "fct/W"):
        assert packed.tensors[name].scheme == "codebook" and packed.tensors[name].bits <= 5
    check_bit_exact(source, packed)


@pytest.mark.usefixtures("one_block_a_group")
def test_kernels_of_more_than_8_bits_are_kept_as_they_are(tmp_path):
    source = save(tmp_path, models.build("lspq18", image_size=32, num_classes=10, bitw=9))
    packed = pack(source)
    assert packed.tensors["group0/block0/conv1x1a/W"].bits == 32
    check_bit_exact(source, packed)


def test_options_that_do_not_apply_are_refused(sspq34, tmp_path):
    with pytest.raises(ValueError, match="`rest` must be one of"):
        pack(sspq34, rest="float8")
    source = save(tmp_path, models.build("lspq18", image_size=32, linear_bits=8, num_classes=10))
    with pytest.raises(ValueError, match="the graph quantizes linear/W to 8 bits itself"):
        pack(source, linear_bits=4)


def test_batch_normalizations_of_several_epsilons_are_refused(sspq34, monkeypatch):
    epsilons = iter(range(1, 1000))

    def layers_of(*arguments):
        layers = read_layers(*arguments)
        return [x._replace(epsilon=next(epsilons)) if x.epsilon else x for x in layers]

    monkeypatch.setattr("sspq.export.packed.pack.read_layers", layers_of)
    with pytest.raises(ValueError, match="must have one epsilon to be packed, got .1.0, 2.0"):
        pack(sspq34)


def test_a_checkpoint_of_another_model_is_refused(sspq34):
    with pytest.raises(ValueError, match="belongs to another graph"):
        pack(sspq34._replace(model=models.build("sspq34", num_classes=11)))


@pytest.mark.usefixtures("one_block_a_group")
def test_a_checkpoint_with_a_nan_is_refused_by_the_variable_s_name(tmp_path):
    model = models.build("lspq18", image_size=32, num_classes=10, bitw=4)
    for name in ("linear/W", "group1/block0/conv1x1a/W", "bfAP/stembn/mean/EMA"):
        source = save(tmp_path, model, one_nan(name))
        with pytest.raises(ValueError, match=f"model-7: of {name}, 1 of .* diverged"):
            pack(source)


def test_the_run_s_settings_say_which_model_it_is(sspq34, tmp_path):
    opened = open_checkpoint(sspq34.prefix)
    assert models.identity(opened.model) == models.identity(sspq34.model)
    assert open_checkpoint(sspq34.prefix, bita=32).model.describe()["bits"]["activations"] == 32
    lonely = save(tmp_path, small())
    (tmp_path / "run.json").unlink()
    with pytest.raises(ValueError, match="name it by --model"):
        open_checkpoint(lonely.prefix)
    assert open_checkpoint(lonely.prefix, "sspq34", num_classes=10).model.num_classes == 10


def without(name):
    return lambda tensors: tensors.pop(name)


def put(name, shape):
    return lambda tensors: tensors.update({name: encode_float(np.zeros(shape), "float32")})


@pytest.mark.parametrize(
    "change, why",
    [
        (without("fct/b"), r"lacks fct/b of shape \(10,\)"),
        (without("conv2/bnlast/*"), "lacks conv2/bnlast"),
        (put("fct/b", (11,)), r"fct/b is \(11,\) in the packed model, expected \(10,\)"),
        (put("conv9/W", (1,)), "conv9/W is .* expected no such tensor"),
        (put("conv2/bnlast/*", (3, 16)), r"\[2, channels\] or \[4, channels\]"),
        (put("conv2/bnlast/*", (2, 17)), "lacks conv2/bnlast/gamma"),
        (put("conv2/bnlast/*", ()), r"\[2, channels\]"),
    ],
)
def test_tensors_of_another_model_are_refused_and_the_file_is_named(change, why, saved, tmp_path):
    packed, path = saved(bitw=4, bita=4).packed, str(tmp_path / "m.safetensors")
    change(packed.tensors)
    container.write(path, packed)
    with pytest.raises(PackedFileError, match="m.safetensors.*" + why):
        unpack(container.read(path))


def test_tensors_of_another_model_are_refused_ahead_of_any_file_too(saved):
    packed = saved(bitw=4, bita=4).packed
    packed.tensors.pop("fct/b")
    with pytest.raises(PackedFileError, match=r"the packed model.* lacks fct/b of shape \(10,\)"):
        unpack(packed)


@pytest.mark.parametrize(
    "key, value",
    [
        ("model", "SSPQ35"),
        ("model", ["SSPQ34"]),
        ("num_classes", 10**15),
        ("num_classes", "10"),
        ("variant", None),
        ("bits", 8),
        ("bits", {"weights": "four"}),
        ("bits", {"weights": 4}),
    ],
)
def test_a_hostile_description_is_refused(key, value, saved):
    packed = saved(bitw=4, bita=4).packed
    packed.model[key] = value
    with pytest.raises(PackedFileError):
        unpack(packed)
