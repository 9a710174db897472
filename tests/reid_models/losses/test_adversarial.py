"""Each loss that hides the camera or the domain equals a naive loop, and its gradient the numerical one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reid_models.losses.adversarial import (
    AdversarialConfig,
    adversarial_loss,
    class_loss,
    guidance_loss,
    positive_classes,
    reverse_gradient,
)
from tests.reid_models.losses.naive import Row, cosine, mean, random_rows, softmax_cost

seeds = st.integers(0, 2**31)
CONFIG = AdversarialConfig(margin=0.5)
# Six classes (camera, person): a chain 0 - 3 - 1 brought two classes of camera 0 into component 0.
CAMERAS = [0, 0, 0, 1, 1, 2]
COMPONENTS = [0, 0, 1, 0, 1, -1]


def naive_is_positive(own: int, other: int, cameras: list[int], components: list[int]) -> bool:
    if own == other:
        return True
    is_associated = components[own] != -1 and components[own] == components[other]
    return is_associated and cameras[own] != cameras[other]


def naive_adversarial(
    features: Sequence[Row],
    weights: Sequence[Row],
    classes: list[int],
    cameras: list[int],
    components: list[int],
    config: AdversarialConfig,
) -> float:
    costs = []
    for feature, own in zip(features, classes, strict=True):
        logits = []
        for place, weight in enumerate(weights):
            z = cosine(feature, weight)
            if place == own:
                z = math.cos(math.acos(z) + config.margin)
            elif cameras[place] == cameras[own]:
                z = (1 + config.same_camera_hardening) * z + config.same_camera_hardening
            logits.append(config.scale * z)
        is_positive = [naive_is_positive(own, place, cameras, components) for place in range(len(weights))]
        positives = [logit for logit, positive in zip(logits, is_positive, strict=True) if positive]
        negatives = [logit for logit, positive in zip(logits, is_positive, strict=True) if not positive]
        own_cost = softmax_cost(logits[own], [logits[own], *negatives])
        all_costs = [softmax_cost(logit, [logit, *negatives]) for logit in positives]
        costs.append((1 - config.smoothing) * own_cost + config.smoothing * mean(all_costs))
    return mean(costs)


def tensors(*values: list[int]) -> list[Tensor]:
    return [torch.tensor(value) for value in values]


def test_positive_are_the_own_class_and_its_component_in_other_cameras() -> None:
    positive = positive_classes(*tensors([0, 1, 3, 2, 5], CAMERAS, COMPONENTS))
    expected = [{0, 3}, {1, 3}, {0, 1, 3}, {2, 4}, {5}]
    assert [set(row.nonzero().flatten().tolist()) for row in positive] == expected


def test_a_chain_leaves_two_classes_of_one_camera_negatives_of_each_other() -> None:
    positive = positive_classes(*tensors([0, 1], CAMERAS, COMPONENTS))
    assert not positive[0, 1] and not positive[1, 0]


def test_classes_without_a_component_are_not_each_others_positives() -> None:
    positive = positive_classes(*tensors([0, 1, 2], [0, 1, 2], [-1, -1, -1]))
    assert torch.equal(positive, torch.eye(3, dtype=torch.bool))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    count = draw(st.integers(1, 7))
    cameras = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    components = draw(st.lists(st.integers(-1, 2), min_size=count, max_size=count))
    return draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=6)), cameras, components


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_the_positive_mask_equals_a_naive_loop(scene: tuple[list[int], list[int], list[int]]) -> None:
    classes, cameras, components = scene
    expected = [
        [naive_is_positive(own, other, cameras, components) for other in range(len(cameras))] for own in classes
    ]
    assert positive_classes(*tensors(classes, cameras, components)).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(seeds, scenes(), st.sampled_from([CONFIG, AdversarialConfig(0.3, scale=4.0, smoothing=0.1)]))
def test_adversarial_loss_equals_a_naive_loop(
    seed: int, scene: tuple[list[int], list[int], list[int]], config: AdversarialConfig
) -> None:
    classes, cameras, components = scene
    features, weights = random_rows(seed, len(classes), 5), random_rows(seed + 1, len(cameras), 5)
    expected = naive_adversarial(features.tolist(), weights.tolist(), classes, cameras, components, config)
    loss = adversarial_loss(features, weights, *tensors(classes, cameras, components), config)
    assert math.isclose(loss.item(), expected, abs_tol=1e-9, rel_tol=1e-6)


def one_image_cost(config: AdversarialConfig, cameras: list[int], components: list[int], cosines: list[float]) -> float:
    """Cost of an image of class 0 that has these cosines with the classes."""
    feature = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor([(z, math.sqrt(1 - z * z)) for z in cosines], dtype=torch.float64)
    return adversarial_loss(feature, weights, *tensors([0], cameras, components), config).item()


def test_the_margin_turns_the_angle_of_the_own_class_only() -> None:
    plain = AdversarialConfig(margin=0.0, scale=1.0, same_camera_hardening=0.0)
    turned = AdversarialConfig(margin=0.5, scale=1.0, same_camera_hardening=0.0)
    after_turning = [math.cos(math.acos(0.8) + 0.5), 0.6, -0.1]
    own_case = one_image_cost(turned, [0, 1, 2], [0, 0, -1], [0.8, 0.6, -0.1])
    assert math.isclose(own_case, one_image_cost(plain, [0, 1, 2], [0, 0, -1], after_turning), rel_tol=1e-9)


def test_other_classes_of_the_same_camera_count_as_harder() -> None:
    plain = AdversarialConfig(margin=0.0, scale=1.0, same_camera_hardening=0.0)
    hardened = AdversarialConfig(margin=0.0, scale=1.0, same_camera_hardening=0.2)
    own_case = one_image_cost(hardened, [0, 0, 1], [0, 1, 1], [0.8, 0.5, 0.5])
    assert math.isclose(own_case, one_image_cost(plain, [0, 0, 1], [0, 1, 1], [0.8, 1.2 * 0.5 + 0.2, 0.5]))


def test_a_positive_does_not_stand_in_the_denominator_of_another() -> None:
    only_own = AdversarialConfig(margin=0.0, smoothing=0.0)
    low = one_image_cost(only_own, [0, 1, 2], [0, 0, 1], [0.4, -0.9, 0.3])
    high = one_image_cost(only_own, [0, 1, 2], [0, 0, 1], [0.4, 0.9, 0.3])
    assert low == high


def test_an_image_that_looks_like_its_person_in_one_camera_only_pays() -> None:
    in_both = one_image_cost(CONFIG, [0, 1, 2], [0, 0, 1], [0.8, 0.8, 0.1])
    in_one = one_image_cost(CONFIG, [0, 1, 2], [0, 0, 1], [0.8, 0.1, 0.1])
    assert in_one > 5 * in_both


def test_detached_weights_get_no_gradient_and_features_get_one() -> None:
    features, weights = random_rows(1, 3, 5).requires_grad_(), random_rows(2, 6, 5).requires_grad_()
    adversarial_loss(features, weights.detach(), *tensors([0, 3, 5], CAMERAS, COMPONENTS), CONFIG).backward()
    assert weights.grad is None
    assert features.grad is not None and features.grad.abs().min() > 0.0


def test_the_classifier_learns_from_detached_features_alone() -> None:
    features, weights = random_rows(3, 3, 5).requires_grad_(), random_rows(4, 6, 5).requires_grad_()
    class_loss(features.detach(), weights, torch.tensor([0, 3, 5])).backward()
    assert features.grad is None
    assert weights.grad is not None and weights.grad.abs().sum() > 0.0


@settings(max_examples=25, deadline=None)
@given(seeds, st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_class_loss_equals_a_naive_loop(seed: int, labels: list[int]) -> None:
    features, weights = random_rows(seed, len(labels), 5), random_rows(seed + 1, 4, 5)
    costs = []
    for feature, label in zip(features.tolist(), labels, strict=True):
        logits = [16.0 * cosine(feature, weight) for weight in weights.tolist()]
        costs.append(softmax_cost(logits[label], logits))
    assert math.isclose(class_loss(features, weights, torch.tensor(labels)).item(), mean(costs), abs_tol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 6), st.sampled_from([1, -1]))
def test_guidance_loss_equals_a_naive_loop(seed: int, count: int, sign: int) -> None:
    images, invariant, relevant = (random_rows(seed + place, count, 5) for place in range(3))
    rows = zip(images.tolist(), invariant.tolist(), relevant.tolist(), strict=True)
    expected = mean([math.log(1 + math.exp(sign * (cosine(v, b) - cosine(v, a)))) for v, a, b in rows])
    assert math.isclose(guidance_loss(images, invariant, relevant, sign).item(), expected, rel_tol=1e-9)


@pytest.mark.parametrize(("sign", "cost"), [(1, 0.37), (-1, 1.17)])
def test_guidance_towards_the_invariant_text_is_cheap_in_the_papers_direction_only(sign: int, cost: float) -> None:
    image = torch.tensor([[0.9, 0.1, math.sqrt(1.0 - 0.82)]])
    invariant, relevant = torch.eye(3)[:1], torch.eye(3)[1:2]
    assert guidance_loss(image, invariant, relevant, sign).item() == pytest.approx(cost, abs=0.005)


def test_gradients_are_the_numerical_ones() -> None:
    features, weights = random_rows(5, 4, 5).requires_grad_(), random_rows(6, 6, 5).requires_grad_()
    scene = tensors([0, 1, 3, 5], CAMERAS, COMPONENTS)
    texts = random_rows(7, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, w: adversarial_loss(f, w, *scene, CONFIG), (features, weights))
    assert torch.autograd.gradcheck(lambda f, w: class_loss(f, w, scene[0]), (features, weights))
    for sign in (1, -1):
        assert torch.autograd.gradcheck(
            lambda f, t, sign=sign: guidance_loss(f, t, t.roll(1, dims=0), sign), (features, texts)
        )


def test_an_image_on_its_own_class_and_without_negatives_has_a_finite_gradient() -> None:
    for classes, cameras, components in (([0, 1], [0, 1], [0, 0]), ([0, 1], [0, 0], [-1, -1])):
        features = torch.eye(2, requires_grad=True)
        loss = adversarial_loss(features, torch.eye(2), *tensors(classes, cameras, components), CONFIG)
        loss.backward()
        assert torch.isfinite(loss)
        assert features.grad is not None and torch.isfinite(features.grad).all()


def test_where_every_class_is_positive_nothing_is_paid() -> None:
    loss = adversarial_loss(random_rows(8, 2, 5), random_rows(9, 2, 5), *tensors([0, 1], [0, 1], [0, 0]), CONFIG)
    assert loss.item() == 0.0


def test_a_reversed_gradient_passes_values_and_turns_gradients() -> None:
    x = random_rows(10, 3, 4).requires_grad_()
    y = reverse_gradient(x, 0.1)
    assert torch.equal(x, y)
    (gradient,) = torch.autograd.grad((y**3).sum(), x)
    torch.testing.assert_close(gradient, -0.1 * 3 * x.detach() ** 2)


def test_an_encoder_behind_a_reversed_gradient_worsens_what_the_classifier_learns() -> None:
    features, weight = random_rows(11, 8, 4), random_rows(12, 4, 2)
    labels = torch.tensor([0, 1] * 4)

    def cost(shift: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy((features + shift) @ weight, labels)

    shift = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    cost(reverse_gradient(shift, 1.0)).backward()
    assert shift.grad is not None
    assert cost(shift.detach() - 0.1 * shift.grad) > cost(shift.detach())
