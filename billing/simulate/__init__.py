"""The simulator: the engine's own code, sixty virtual days at a time, with everything going wrong that can.

    stage.py      virtual time; who moves next          wire.py      the network, and what it does to a request
    house.py      a database in memory, per process     life.py      one seed, from its first day to its calm
    mischief.py   the PG's moods, operators             foreign.py   hands that do not belong to the engine
    buyers.py     people with browsers, in good faith   host.py      notices and events, and what happens to them
                  and in bad                            usher.py     what must be true of their windows
    checker.py    what must be true of the books        doorman.py   what must be true of a request on arrival
    ablation.py   guards switched off, one by one       run.py       many seeds, many processes

The engine is not told that it is simulated: its flows, its store, its gateway client and its fault points are the ones
that charge real cards. Only clock, network, ids and processes are virtual, and all follow from one seed.
"""
