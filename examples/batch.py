"""Finds lesions in a folder of images and writes them as a COCO file.

python examples/batch.py FOLDER OUTPUT.json
"""

import json
import sys
from pathlib import Path

import qlumen


def main(folder: str, output: str) -> None:
    images, annotations = [], []
    for result in qlumen.replay(folder):
        width, height = result.size
        images.append(
            {"id": result.index, "file_name": result.name, "width": width, "height": height}
        )
        annotations += result.to_coco(result.index, first_id=len(annotations) + 1)
    categories = [{"id": 1, "name": "polyp"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    Path(output).write_text(json.dumps(content))
    print(f"{len(images)} images, {len(annotations)} findings: {output}")


main(*sys.argv[1:])
