"""Ask the PG: i'mport V1 (PortOne REST V1) behind the `Gateway` port.

    iamport.py     the calls, one method per verb of the port
    replies.py     what an answer to a charge proves, case by case
    wire.py        answers: JSON → evidence        bodies.py   orders → JSON
    asking.py      authorised questions: the one repeat after a 401, plain words for trouble
    token.py       the life of an access token     http.py     bytes out, bytes in; one connection per call
    connection.py  a socket, TLS, and what was sent
    fanout.py      the threads that wait on the wire
    declines.py    fail_reason → code and class    card.py     raw card data for one call

Nothing is imported here: the command line starts without the wire until the PG is really needed.
"""
