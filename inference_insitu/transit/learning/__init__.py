"""Learning beside a run: frames whose truth is known are kept, the model is fine-tuned on them, and a version that is
better takes over.

``reservoir`` keeps a sample of the frames, ``plugin`` trains, ``judgement`` says whether a version may take over and
whether it is to go again, ``learner`` is the process.
"""
