"""Makes the encoder and decoder that a config selects; no other module checks ``config.backbone``."""

from torch import nn

from bitmill.bsq_model.acceleration.workspace import TanhInPlace
from bitmill.bsq_model.layers.backbone import Backbone, LatentProjection
from bitmill.bsq_model.layers.cnn import CNNDecoder, CNNEncoder
from bitmill.bsq_model.layers.output import values_per_patch
from bitmill.bsq_model.layers.vit import BlockCausalViT
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig


def make_encoder(config: TokenizerConfig) -> Backbone:
    """Return the encoder: patches [..., h, w, 3·p²] to latents [..., h, w, L], float32."""
    if config.backbone == "cnn":
        return CNNEncoder(config)
    return BlockCausalViT(
        config.encoder,
        (config.grid_size, config.grid_size),
        config.num_frames,
        embed=nn.Linear(3 * config.patch_size_px**2, config.encoder.width, bias=False),
        head=LatentProjection(config.encoder.width, config.bits_per_token),
        causal=config.attention == "block-causal",
        interpolates=config.positions == "interpolate",
    )


def make_decoder(config: TokenizerConfig) -> Backbone:
    """Return the decoder: codes [..., h, w, L] to values [..., h, w, X] (``layers.output``)."""
    if config.backbone == "cnn":
        return CNNDecoder(config)
    return BlockCausalViT(
        config.decoder,
        (config.grid_size, config.grid_size),
        config.num_frames,
        embed=nn.Linear(config.bits_per_token, config.decoder.width),
        head=nn.Sequential(
            nn.Linear(config.decoder.width, config.decoder_ffn_width),
            TanhInPlace(),
            nn.Linear(config.decoder_ffn_width, values_per_patch(config)),
        ),
        causal=config.attention == "block-causal",
        interpolates=config.positions == "interpolate",
    )
