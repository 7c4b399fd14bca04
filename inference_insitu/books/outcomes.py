"""What may become of a frame. A slot's row names an outcome by its position in ``OUTCOMES``."""

INFERRED = "inferred"
HANDED_OVER = "handed_over"
"""It lies in the stream log; who answered it there stands in an account of its own (``transit.account``)."""

DROPPED = {
    "superseded": "a newer frame took its place before inference could",
    "full": "its ring was full",
    "timeout": "its ring was full for as long as the policy waits",
    "sampled": "the policy takes one frame of several",
    "late": "its deadline passed, or could not be met any more",
    "too_large": "it is larger than its variable was declared",
    "repeated": "its step does not follow the last one of its stream",
    "reduced": "its content went into the frame of another rank",
    "unreduced": "a reduction on the simulation rank refused it",
    "failed": "the analysis raised an error, or a GPU or the file that frames spill to did not take or give it",
    "nonfinite": "the frame or the answer held NaN or infinity",
    "unsaved": "the answer could not be written",
    "undelivered": "the run ended before inference could take it",
    "unanswered": "inference took it and did not answer before the end's timeout",
    "lost": "the worker died with it, and so did the next one, if there was one",
    "no_inference": "nobody infers: the worker failed for good",
}
"""Reasons for which a frame is dropped, and what each means."""

OUTCOMES = (INFERRED, HANDED_OVER, *DROPPED)
CODES = {name: code for code, name in enumerate(OUTCOMES)}
