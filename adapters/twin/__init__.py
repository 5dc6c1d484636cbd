"""The IMDS twin: a real HTTP server on loopback that answers as Azure's metadata service does, and takes orders.

`events`, `profile`, `faults`, `limits`, `state`, `answers` and `orders` are pure: values in, values out, time passed
in. `server` puts them on a socket, and `client` gives orders from elsewhere.
"""
