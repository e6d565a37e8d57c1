"""Time eager PyTorch: the yardstick of `tools/benchmarks/run.py train --pytorch`, and of `run.py extract --pytorch`.

PyTorch is no dependency of this project: run this with the Python of an environment that has it and need have nothing
else. It prints "ready" once warm; then, for each line on its standard input, it makes one step, or passes the levels of
one photo through the network, and prints how many milliseconds that took.
"""

import argparse
import sys
import time
from typing import Any, Callable, List, Optional, Tuple


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> Any:
    """A convolution with a bias, as Keras has it, and BatchNorm with Keras's constants."""
    from torch import nn

    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01))


def make_stage(inputs: int, middle: int, units: int, stride: int) -> List[Any]:
    """The bottlenecks of a ResNet-50 stage; the first one strides and projects."""
    from torch import nn
    from torch.nn.functional import relu

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, stride: int, project: bool) -> None:
            super().__init__()
            self.a = conv_bn(inputs, middle, 1, stride)
            self.b = conv_bn(middle, middle, 3)
            self.c = conv_bn(middle, 4 * middle, 1)
            self.shortcut = conv_bn(inputs, 4 * middle, 1, stride) if project else nn.Identity()

        def forward(self, x: Any) -> Any:
            return relu(self.c(relu(self.b(relu(self.a(x))))) + self.shortcut(x))

    rest = [Bottleneck(4 * middle, 1, False) for _ in range(units - 1)]
    return [Bottleneck(inputs, stride, True), *rest]


def build_parts(num_classes: int, image_size: int) -> Tuple[Any, Any, Any]:
    """The network of `src/model/networks.py` for photos of one size.

    Returns:
        Modules: images -> block3, block3 -> logits of the descriptor head, block3 -> logits of the attention head.
    """
    from torch import nn
    from torch.nn.functional import normalize

    class AttentionHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.Sequential(conv_bn(1024, 512, 1), nn.ReLU(), nn.Conv2d(512, 1, 1), nn.Softplus())
            self.dense = nn.Linear(1024, num_classes)

        def forward(self, block3: Any) -> Any:
            return self.dense((normalize(block3, dim=1) * self.attention(block3)).mean((2, 3)))

    padding = max((-(-image_size // 2) - 1) * 2 + 7 - image_size, 0)  # TF SAME: the odd pixel goes after
    before, after = padding // 2, padding - padding // 2
    stem = [nn.ZeroPad2d((before, after, before, after)), nn.Conv2d(3, 64, 7, 2),
            nn.BatchNorm2d(64, eps=1e-3, momentum=0.01), nn.ReLU(), nn.MaxPool2d(3, 2)]  # fmt: skip
    stages = [*make_stage(64, 64, 3, 1), *make_stage(256, 128, 4, 2), *make_stage(512, 256, 6, 2)]
    backbone = nn.Sequential(*stem, *stages, nn.MaxPool2d(1, 2))
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, num_classes)]
    return backbone, nn.Sequential(*make_stage(1024, 512, 3, 1), *pooled), AttentionHead()


def make_step(arguments: argparse.Namespace) -> Callable[[], None]:
    """One training step on random photos: momentum SGD, gradients clipped to a global norm of 10, as in training."""
    import torch

    torch.manual_seed(0)
    backbone, descriptor_head, attention_head = build_parts(arguments.num_classes, arguments.image_size)
    frozen = arguments.stage == "attn"
    head = attention_head if frozen else descriptor_head
    backbone.train(not frozen)
    parameters = [*head.parameters(), *([] if frozen else backbone.parameters())]
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)
    images = torch.randn(arguments.batch_size, 3, arguments.image_size, arguments.image_size)
    labels = torch.randint(arguments.num_classes, (arguments.batch_size,))

    def step() -> None:
        with torch.set_grad_enabled(not frozen):
            block3 = backbone(images)
        logits = head(block3)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()
        _ = loss.item(), (logits.argmax(1) == labels).float().mean().item(), norm.item()

    return step


def make_extraction(sizes: List[Tuple[int, int]], compiled: bool = False) -> Callable[[], None]:
    """The network of extraction on random images of ``sizes``, (width, height), one after the other.

    ``compiled`` by torch.compile, for each size by itself.
    """
    import torch
    from torch.nn.functional import normalize

    torch.manual_seed(0)
    backbone, _, head = build_parts(1, sizes[0][0])
    backbone.eval()
    head.eval()
    images = [torch.randn(1, 3, height, width) for width, height in sizes]

    def network(image: Any) -> Tuple[Any, Any]:
        block3 = backbone(image)
        return head.attention(block3), normalize(block3, dim=1)

    if compiled:
        torch._dynamo.config.recompile_limit = len(sizes) + 1
        network = torch.compile(network, dynamic=False)

    def extract() -> None:
        with torch.inference_mode():
            for image in images:
                network(image)

    return extract


def main(argv: Optional[List[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=["tuning", "attn", "extract"], default="tuning", help="default: %(default)s")
    parser.add_argument("--batch_size", type=int, default=32, help="photos a step (default: %(default)s)")
    parser.add_argument("--image_size", type=int, default=321, help="side of a photo, pixels (default: %(default)s)")
    parser.add_argument("--num_classes", type=int, default=64, help="classes of the head (default: %(default)s)")
    parser.add_argument("--sizes", default="1024x768", help="extract: of the levels (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="extract: by torch.compile, which needs a C++ compiler")
    arguments = parser.parse_args(argv)
    sizes = [tuple(map(int, size.split("x"))) for size in arguments.sizes.split(",")]
    try:
        step = make_extraction(sizes, arguments.compile) if arguments.stage == "extract" else make_step(arguments)
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}")
    for _ in range(2):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        step()
        print(1000 * (time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main()
