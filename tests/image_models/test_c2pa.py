"""Whether a file carries a signed note of where it comes from."""

from image_models.gemini_server import png

from nbhelpers.image_models.c2pa import has_manifest


def test_c2pa_manifest_is_found_where_the_standard_puts_it():
    plain, jpeg = png("x"), png("x", kind="JPEG")
    chunk = (5).to_bytes(4, "big") + b"caBX" + b"abcde" + bytes(4)
    assert not has_manifest(plain) and has_manifest(plain[:33] + chunk + plain[33:])
    body = b"JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x20jumb....jumdc2pa"
    segment = b"\xff\xeb" + (len(body) + 2).to_bytes(2, "big") + body
    assert not has_manifest(jpeg) and has_manifest(jpeg[:2] + segment + jpeg[2:])
    webp = png("x", kind="WEBP")
    assert not has_manifest(webp) and has_manifest(webp + b"C2PA" + (4).to_bytes(4, "little") + b"abcd")
    assert not has_manifest(b"") and not has_manifest(jpeg[:5]) and not has_manifest(b"nothing")
