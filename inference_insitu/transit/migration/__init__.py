"""A running query moves between the workers beside the simulation and the stream engine, and no step is lost.

``protocol`` is the agreement, a fold of one ordered topic; ``share`` is what one worker does of it; ``handing_over``
carries frames out of the ring into the log; ``answered`` takes the engine's answers in.
"""
