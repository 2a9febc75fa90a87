"""COCO's JSON with given objects."""

import json


def square(label, box, **more):
    x, y, width, height = box
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {"label": label, "segmentation": [corners], "bbox": list(box), **more}


def write_coco(path, images, objects):
    """Write JSON of images (name, size) and objects by image."""
    labels = sorted({o["label"] for own in objects for o in own})
    content = {
        "images": [
            {"id": i, "file_name": name, "width": w, "height": h}
            for i, (name, (w, h)) in enumerate(images)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(labels, 1)],
        "annotations": [
            {**one, "id": 100 * i + n, "image_id": i, "category_id": 1 + labels.index(one["label"])}
            for i, own in enumerate(objects)
            for n, one in enumerate(own)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def damaged(label):
    """Return an object whose outline can't be drawn."""
    return {"label": label, "segmentation": [[1, 2, 3, 4, 5, 6, 7]]}
