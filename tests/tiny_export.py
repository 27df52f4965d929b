"""Write a tiny exported network and a picture for it: python tests/tiny_export.py NETWORK.onnx PICTURE.png"""

from __future__ import annotations

import sys

from atrous.contract import Config, LabelSpace, Preprocessing, config_json, plain
from atrous.data.scenes import street_scene
from atrous.data.writers import write_image
from atrous.exporting import export_onnx
from atrous.models import Segmenter, deeplab_v3plus


def main(network: str, picture: str) -> None:
    """Write both files."""
    space, preprocessing = LabelSpace(names=("ground", "sky")), Preprocessing()
    net = deeplab_v3plus(len(space), encoder="resnet18", width=1 / 8)
    config = Config(
        model="deeplab_v3plus",
        options={"encoder": "resnet18", "width": 1 / 8},
        space=space,
        preprocessing=preprocessing,
        geometry=plain(net.geometry),
    )
    export_onnx(Segmenter(net, space, preprocessing).eval(), config_json(config), network)
    write_image(picture, street_scene(0).image)


if __name__ == "__main__":
    main(*sys.argv[1:])
