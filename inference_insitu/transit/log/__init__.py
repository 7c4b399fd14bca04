"""The durable log between a simulation and a stream engine: what a broker must do, Redis Streams, records, payloads."""
