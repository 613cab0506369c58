"""Load a vision-language model, and run it on prompts that share their images and prefixes."""

from vlmalign.models.batch import PromptBatch
from vlmalign.models.conversations import Conversation, sample_conversations
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.models.flops import batch_flops, sampling_flops
from vlmalign.models.forward import ResponseOutput, forward_responses, sequence_logps
from vlmalign.models.loading import VLM, LoraSettings, load_vlm, save_vlm
from vlmalign.models.reward_model import RewardModel
from vlmalign.models.sampling import Sample, sample_responses
from vlmalign.models.tiny import build_tiny_llava

__all__ = [
    "VLM",
    "Conversation",
    "FeatureCache",
    "LoraSettings",
    "PromptBatch",
    "ResponseOutput",
    "RewardModel",
    "Sample",
    "batch_flops",
    "build_tiny_llava",
    "forward_responses",
    "load_vlm",
    "sample_conversations",
    "sample_responses",
    "sampling_flops",
    "save_vlm",
    "sequence_logps",
]
