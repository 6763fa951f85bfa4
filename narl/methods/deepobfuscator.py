"""DeepObfuscator (Li, Duan, Chen and Yin 2021): one encoder against a label adversary and a decoder at once.

    z = O(x), no noise
    C  minimises L_C = L_task(C(z)),  AC minimises L_AC = L_leak(AC(z)),  AR minimises L_AR = 1 − MS-SSIM(x, AR(z))
    O  minimises L_C − λ L_AC − λ_reconstruction L_AR

Published: O is VGG16-BN's first two blocks (arch vgg16_bn, split 4: features[:13]). The original weights could not be
verified: λ is the configuration's, λ_reconstruction 1 by default is ours.
Where we deviate: C and AC are the rest of the architecture and AR is the decoder of `narl.models.decoders`; every
network steps on every batch, from the same forward pass, instead of in turns; MS-SSIM has as many scales as the images
allow, and its factors are mapped to [0, 1] rather than cut off at 0, which would leave the decoder, and so the encoder,
without a gradient for images that it rebuilds inverted.
"""

from __future__ import annotations

from torch import Tensor, nn

from narl.methods.base import Ingredients, Method, StepLosses
from narl.models.decoders import build_decoder
from narl.training.classification import classification_loss
from narl.training.similarity import ms_ssim


class DeepObfuscator(Method):
    """Four networks, each with an Adam; `step` performs one simultaneous update."""

    task: nn.Module

    def __init__(self, parts: Ingredients) -> None:
        super().__init__(parts)
        self.task, self.adversary = parts.task, parts.adversary
        decoder = build_decoder(parts.halves.feature_shape, parts.halves.size, parts.seed("decoder"))
        self.decoder = parts.precision.place(decoder)
        self.lambda_ = parts.point.lambda_
        self.lambda_reconstruction = parts.settings["lambda_reconstruction"]
        self.train_each(self.client, self.task, self.adversary, self.decoder)

    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        with self.precision.autocast():
            z = self.client(images)
            z_task = z.detach().requires_grad_()
            z_leak = z.detach().requires_grad_(self.lambda_ > 0)
            z_image = z.detach().requires_grad_(self.lambda_reconstruction > 0)
            task_loss = classification_loss(self.task(z_task), utility)
            leak_loss = classification_loss(self.adversary(z_leak), private)
            rebuilt = self.decoder(z_image)
        rebuild_loss = 1 - ms_ssim(images, rebuilt.to(images.dtype), signed=True).mean()
        for loss in (task_loss, leak_loss, rebuild_loss):
            loss.backward()
        z_gradient = z_task.grad
        for leaf, weight in ((z_leak, self.lambda_), (z_image, self.lambda_reconstruction)):
            if weight > 0:
                z_gradient = z_gradient.sub(leaf.grad, alpha=weight)
        z.backward(z_gradient)
        return StepLosses(task_loss.detach(), leak_loss.detach())
