"""Small ILSVRC trees, with everything in them that real ones have."""

import io
import os

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

CLASSES = ("n01440764", "n01443537", "n02105855")
PHOTOGRAPHS = load_sample_images().images


def picture(seed, height=90, width=120):
    """A part of a photograph, RGB, another one for every seed."""
    rng = np.random.RandomState(seed)
    photograph = PHOTOGRAPHS[seed % 2]
    top = rng.randint(photograph.shape[0] - height)
    left = rng.randint(photograph.shape[1] - width)
    return photograph[top : top + height, left : left + width]


def encoded(pixels, mode="RGB", kind="JPEG", **options):
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, kind, **options)
    return out.getvalue()


def put(root, name, content):
    path = os.path.join(str(root), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode())
    return path


def val_name(number):
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def make(root, train=4, val=6, flat=True, labels=True):
    """A tree without any defect: ``train`` images a class, and ``val`` images in all.

    Image ``i`` of ``val`` shows class ``(i + 1) % 3``. A flat ``val`` has its labels in val.txt.
    """
    for label, name in enumerate(CLASSES):
        for i in range(train):
            seed = 10 * label + i
            content = encoded(picture(seed, 70 + 5 * seed, 130 - 3 * seed), quality=90)
            put(root, f"train/{name}/{name}_{i}.JPEG", content)
    for i in range(val):
        folder = "val" if flat else "val/" + CLASSES[(i + 1) % 3]
        put(root, f"{folder}/{val_name(i + 1)}", encoded(picture(100 + i), quality=90))
    if flat and labels:
        lines = [f"{val_name(i + 1)} {(i + 1) % 3}\n" for i in range(val)]
        put(root, "val.txt", "".join(lines))
    return str(root)


# What real trees contain. All of these are put into the first class folder of ``train``, or into
# a flat ``val`` with the label 1.
UNUSUAL = {
    "grey.JPEG": ("grayscale", lambda: encoded(picture(1), "L")),
    "cmyk.JPEG": ("CMYK", lambda: encoded(picture(2), "CMYK")),
    "png.JPEG": ("PNG", lambda: encoded(picture(3), kind="PNG")),
    "alpha.JPEG": ("PNG", lambda: encoded(picture(4), "RGBA", "PNG")),
}
BAD = {
    "half.JPEG": ("truncated", lambda: encoded(picture(5))[:-1000]),
    "end.JPEG": ("truncated", lambda: encoded(picture(5))[:-2]),
    "start.JPEG": ("truncated", lambda: encoded(picture(6))[:100]),
    "scan.JPEG": ("truncated", lambda: encoded(picture(6), progressive=True)[:-900]),
    "halfpng.JPEG": ("truncated", lambda: encoded(picture(7), kind="PNG")[:-1000]),
    "text.JPEG": ("unknown", lambda: b"<html>404 Not Found</html>"),
    "gif.JPEG": ("unknown", lambda: encoded(picture(8), "P", "GIF")),
    "empty.JPEG": ("empty", lambda: b""),
}


def add_defects(root):
    """Puts every defect into a flat tree. Returns what a scan should find, by file."""
    found = {}
    lines = []
    for name, (kind, content) in {**UNUSUAL, **BAD}.items():
        for folder in ("train/" + CLASSES[0], "val"):
            put(root, f"{folder}/{name}", content())
            found[f"{folder}/{name}"] = kind
        lines.append(f"{name} 1\n")
    lines.append("gone.JPEG 1\n")
    found["val/gone.JPEG"] = "missing"
    with open(os.path.join(root, "val.txt"), "a") as f:
        f.writelines(lines)
    os.makedirs(os.path.join(root, "train", "n09999999"))
    put(root, f"train/{CLASSES[0]}/._grey.JPEG", b"left by a desktop")
    put(root, f"train/{CLASSES[1]}/Thumbs.db", b"left by another")
    put(root, "train/README.txt", "not an image")
    put(root, "val/.cache/x", "not an image")
    os.symlink("nowhere.JPEG", os.path.join(root, "train", CLASSES[1], "link.JPEG"))
    found[f"train/{CLASSES[1]}/link.JPEG"] = "unreadable"
    return found


FOREIGN = {
    f"train/{CLASSES[0]}/._grey.JPEG",
    f"train/{CLASSES[1]}/Thumbs.db",
    "train/README.txt",
    "val/.cache",
}
EMPTY = ("train/n09999999",)
