from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.crops import ENCODER_PX, crop_quality, decode_crop, jpeg_size, mean_direction, reduction
from pipeline.errors import InvalidMessage
from tests.fakes import crop, jpeg, painted, unit_vectors


def test_a_crop_is_decoded_as_rgb() -> None:
    image = decode_crop(jpeg(painted((200, 40, 10))))
    assert image.shape == (64, 32, 3)
    assert np.abs(image.mean((0, 1)) - (200, 40, 10)).max() < 4


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_a_reduced_crop_is_larger_than_any_input_on_both_sides(height_px: int, width_px: int) -> None:
    by = reduction(height_px, width_px)
    assert by == 1 or (height_px // by >= ENCODER_PX[0] and width_px // by >= ENCODER_PX[1])
    assert by == 8 or height_px < 2 * by * ENCODER_PX[0] or width_px < 2 * by * ENCODER_PX[1]


@pytest.mark.parametrize(
    ("size", "decoded"), [((256, 128), (256, 128)), ((800, 500), (400, 250)), ((1601, 1000), (401, 250))]
)
def test_a_large_crop_is_decoded_at_a_fraction_in_the_same_colours(
    size: tuple[int, int], decoded: tuple[int, int]
) -> None:
    image = decode_crop(jpeg(painted((200, 40, 10), *size)))
    assert image.shape == (*decoded, 3)
    assert np.abs(image.mean((0, 1)) - (200, 40, 10)).max() < 4


@given(st.integers(1, 300), st.integers(1, 300), st.booleans())
def test_the_header_tells_the_size(width_px: int, height_px: int, is_progressive: bool) -> None:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(is_progressive)]
    encoded = cv2.imencode(".jpg", painted((9, 9, 9), height_px, width_px), options)[1].tobytes()
    assert jpeg_size(encoded) == (width_px, height_px)


@given(st.binary(max_size=200), st.integers(0, 100))
def test_any_bytes_are_an_image_or_an_invalid_message(noise: bytes, cut: int) -> None:
    whole = jpeg(painted((9, 99, 9)))
    for content in (noise, b"\xff\xd8" + noise, whole[:cut], whole[:cut] + noise):
        try:
            assert decode_crop(content).ndim == 3
        except InvalidMessage as error:
            assert "crop" in str(error)


@pytest.mark.parametrize(("width_px", "height_px"), [(65_000, 65_000), (5000, 10), (0, 64)])
def test_a_header_that_promises_too_many_pixels_or_none_is_refused_before_decoding(
    width_px: int, height_px: int
) -> None:
    whole = bytearray(jpeg(painted((9, 9, 9))))
    at = whole.index(b"\xff\xc0") + 5
    whole[at : at + 4] = struct.pack(">HH", height_px, width_px)
    with pytest.raises(InvalidMessage, match=f"{width_px}x{height_px} px; expected"):
        decode_crop(bytes(whole))


def test_a_png_is_not_a_crop() -> None:
    with pytest.raises(InvalidMessage, match="expected a JPEG"):
        decode_crop(cv2.imencode(".png", painted((9, 9, 9)))[1].tobytes())


def test_quality_lies_between_0_and_1_and_follows_the_detector() -> None:
    worse, better = (crop_quality(crop(b"1234", score=score)) for score in (0.3, 0.9))
    assert 0.0 < worse < better <= 1.0


@given(st.integers(1, 6), st.integers(0, 99))
def test_the_mean_direction_is_unit_and_closest_to_the_heaviest(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, weights = unit_vectors(rng, count), rng.uniform(0.0, 0.01, count).tolist()
    heavy = int(rng.integers(count))
    weights[heavy] = 1.0
    mean = mean_direction(vectors, weights)
    assert np.linalg.norm(mean) == pytest.approx(1.0, abs=1e-5)
    assert int((vectors @ mean).argmax()) == heavy


def test_vectors_that_cancel_leave_the_word_to_the_heaviest() -> None:
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    assert mean_direction(vectors, [0.0, 0.0]).tolist() == [1.0, 0.0]
    assert mean_direction(vectors, [0.5, 0.5]).tolist() == [1.0, 0.0]
