"""Whether a name stands for a model on the Hugging Face Hub: asked once, before anything is begun."""

from __future__ import annotations

from functools import cache

from huggingface_hub import HfApi, constants, is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

SECONDS = 5.0
REMEDY = "check the path or the name"


@cache
def check_on_hub(name: str) -> None:
    """Refuse a name that is no model's, with one short request instead of a minute of repeated ones.

    A model fetched before stays usable where the Hub cannot be reached: this process then asks it no more.

    Args:
        name: "owner/name".

    Raises:
        FileNotFoundError: the Hub has no such model, or cannot be asked and no copy of it is here.
    """
    here = isinstance(_cached(name), str)
    if is_offline_mode():
        if not here:
            raise FileNotFoundError(
                f"{name}: no such folder here, and the Hub is not asked as HF_HUB_OFFLINE is set: {REMEDY}."
            )
        return
    try:
        HfApi().model_info(name, timeout=SECONDS)
    except (RepositoryNotFoundError, HFValidationError):
        raise FileNotFoundError(
            f"{name}: no such folder here, and the Hub has no such model (or keeps it private): {REMEDY}."
        ) from None
    except Exception as error:  # of whichever library speaks HTTP, which changes with the Hub's own
        if not here:
            raise FileNotFoundError(
                f"{name}: no such folder here, and the Hub cannot be reached ({type(error).__name__}): {REMEDY}."
            ) from None
        constants.HF_HUB_OFFLINE = True  # what loads the model would ask again for each of its files


def _cached(name: str) -> object:
    try:
        return try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
