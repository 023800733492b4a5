from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from thalweg.contracts import Draw, LoadContext
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.curvature import Hessian
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg_plugins.problems._sklearn_digits import digits
from thalweg_plugins.problems.quadratic import Quadratic

CPU = torch.device("cpu")


def test_digits_have_the_declared_split_and_scaling(registry: Registry) -> None:
    problem = registry.problem("digits")
    loaded = problem.load(resolve(problem.options, {}, "x"), LoadContext(CPU, torch.float64, 0.2))
    assert isinstance(loaded, Supervised)
    assert loaded.sizes == {"train": 1077, "valid": 270, "test": 450}
    train = loaded.data["train"][0]
    assert float(train.mean(0).abs().max()) < 1e-12
    assert float(train.max() - train.min()) <= 2
    pixels = torch.cat([inputs for inputs, _ in loaded.data.values()]) - train[0]
    # 1,797 different images (one pair of the set is equal), so no example is in two splits
    assert len({tuple(row) for row in pixels.round(decimals=9).tolist()}) >= 1796
    assert torch.bincount(loaded.data["test"][1]).min() >= 43


@pytest.mark.parametrize("own_file", [True, False])
def test_digits_have_scikit_learns_numbers_and_split(own_file: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = load_digits(return_X_y=True)
    rest, test = train_test_split(range(len(labels)), test_size=450, random_state=0, stratify=labels)
    if not own_file:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    split = digits(0.0)
    for rows, (x, y) in ((rest, split["train"]), (test, split["test"])):
        np.testing.assert_array_equal(x.numpy(), images[rows] / 16)
        np.testing.assert_array_equal(y.numpy(), labels[rows])


def test_the_quadratic_has_the_declared_spectrum_gradient_and_minimum(registry: Registry) -> None:
    problem = Quadratic()
    options = resolve(problem.options, {"dim": 12, "kappa": 50.0}, "x")
    hessian, minimum = problem.hessian_and_minimum(options)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(eigenvalues.numpy(), np.geomspace(1, 50, 12), rtol=1e-10)
    loaded = problem.load(options, LoadContext(CPU, torch.float64))
    module = registry.architecture("point").build({"tensors": 1}, problem.shape(options)).double()
    loaded.initialize(module, Draw(3, None))
    (point,) = module.parameters()
    objective = Objective(module, loaded, Draw(3, None))
    objective.begin_step(loaded.batch("train", 0, Draw(3, None)), 0)
    loss, (gradient,) = objective.gradient()
    offset = point.detach() - minimum
    torch.testing.assert_close(gradient, hessian @ offset, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss, 0.5 * offset @ hessian @ offset, rtol=1e-12, atol=0)
    product = Hessian(objective) @ torch.ones(12).double()
    torch.testing.assert_close(product, hessian.sum(1), rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        point.copy_(minimum)
    assert loaded.evaluate(module, "train")["loss"] == 0.0


def test_digits_as_images_are_the_same_numbers(registry: Registry) -> None:
    context = LoadContext(CPU, torch.float64, 0.2)
    problem = registry.problem("digits")
    vectors = problem.load(resolve(problem.options, {}, "x"), context)
    images = problem.load(resolve(problem.options, {"layout": "image"}, "x"), context)
    assert isinstance(vectors, Supervised)
    assert isinstance(images, Supervised)
    for split in ("train", "valid", "test"):
        assert images.data[split][0].shape[1:] == (1, 8, 8)
        assert torch.equal(images.data[split][0].flatten(1), vectors.data[split][0])
        assert torch.equal(images.data[split][1], vectors.data[split][1])


def test_digits_on_their_principal_components_are_those_of_scikit_learn(registry: Registry) -> None:
    context = LoadContext(CPU, torch.float64, 0.2)
    problem = registry.problem("digits")
    pixels = problem.load(resolve(problem.options, {}, "x"), context)
    options = resolve(problem.options, {"components": 8}, "x")
    reduced = problem.load(options, context)
    assert problem.shape(options).input == (8,)
    assert isinstance(pixels, Supervised)
    assert isinstance(reduced, Supervised)
    pca = PCA(8, svd_solver="full").fit(pixels.data["train"][0].numpy())
    for split in ("train", "valid", "test"):
        expected = pca.transform(pixels.data[split][0].numpy())
        found = reduced.data[split][0].numpy()
        signs = np.sign((expected * found).sum(0))  # the sign of a component is a convention
        np.testing.assert_allclose(found * signs, expected, atol=1e-10)
        assert torch.equal(reduced.data[split][1], pixels.data[split][1])


def test_components_as_images_are_refused(registry: Registry) -> None:
    problem = registry.problem("digits")
    with pytest.raises(UserError, match="components are vectors"):
        problem.shape(resolve(problem.options, {"components": 8, "layout": "image"}, "x"))
    with pytest.raises(UserError, match=r"components = 65 is outside its allowed range \[0, 64\]"):
        resolve(problem.options, {"components": 65}, "x")


def test_digits_to_autoencode_are_the_same_images_in_the_unit_interval(registry: Registry) -> None:
    context = LoadContext(CPU, torch.float64, 0.2)
    loaded = registry.problem("digits-autoencoder").load({}, context)
    problem = registry.problem("digits")
    digits = problem.load(resolve(problem.options, {}, "x"), context)
    assert isinstance(loaded, Supervised)
    assert isinstance(digits, Supervised)
    for split in ("train", "valid", "test"):
        x, y = loaded.data[split]
        assert x is y
        assert 0 <= x.min() < x.max() <= 1
        torch.testing.assert_close(x - x.mean(0), digits.data[split][0] - digits.data[split][0].mean(0))


def test_mnist1d_is_what_its_package_makes_and_leaves_the_generators_alone(registry: Registry) -> None:
    import random

    from mnist1d.data import make_dataset

    from thalweg_plugins.problems.mnist1d import _made

    _made.cache_clear()
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    problem = registry.problem("mnist1d")
    loaded = problem.load(resolve(problem.options, {"layout": "sequence"}, "x"), LoadContext(CPU, torch.float64, 0.2))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    assert isinstance(loaded, Supervised)
    assert loaded.sizes == {"train": 3200, "valid": 800, "test": 1000}
    made = make_dataset()
    np.testing.assert_array_equal(loaded.data["test"][0][:, 0].numpy(), made["x_test"])
    both = torch.cat([loaded.data["train"][0], loaded.data["valid"][0]])
    assert {tuple(row) for row in both[:, 0].tolist()} == {tuple(row) for row in made["x"].tolist()}
    assert torch.bincount(loaded.data["test"][1], minlength=10).min() > 60


def test_tiny_text_predicts_each_next_character(registry: Registry) -> None:
    from thalweg_plugins.problems.tiny_text import CHARACTERS, TEXT, VOCABULARY

    text = TEXT.read_text(encoding="ascii")
    assert (len(text), len(set(text))) == (CHARACTERS, VOCABULARY)
    alphabet = sorted(set(text))
    problem = registry.problem("tiny-text")
    options = resolve(problem.options, {"length": 50}, "x")
    loaded = problem.load(options, LoadContext(CPU, torch.float32, 0.1))
    assert isinstance(loaded, Supervised)
    parts = {
        split: ["".join(alphabet[i] for i in row) for row in inputs.tolist()]
        for split, (inputs, _) in loaded.data.items()
    }
    for inputs, targets in loaded.data.values():
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
    # the test split is the end of the text, and no piece of it was trained on
    assert "".join(parts["test"]) in text[-round(CHARACTERS / 10) :]
    assert all(piece in text[: -round(CHARACTERS / 10)] for piece in parts["train"][:200])
    assert len(parts["valid"]) == -(-(len(parts["train"]) + len(parts["valid"])) // 10)
