"""A laboratory of thousands of devices in one process: who has what, in which world, attacked by whom.

In the order in which a study meets them:

=============  ==============================================================  ==================================
what is asked  ``study``, its lines of terms ``specs``                          all of it is in one frozen record
front door     ``laboratory``                                                   makes what follows, and runs it
who has what   ``data``, ``partitions``, ``feature_skew``, ``looks``            ``population``: all of it, dealt out
who is there   ``worlds/``, ``attendance``; ``buffered``: nobody is waited for  a round's devices before it is run
who cheats     ``attacks/``, one file each                                      ``cheats``: who, and what they send
the rounds     ``running``                                                      calls all of what follows
a device       ``learners``, ``modules``, ``memories``, ``vectors``             ``workshop``: its work in a round
its workers    ``engines/``, by ``orders``                                      many devices' vectors become sums
the servers    ``server``                                                       a sum becomes the next model
the protocol   ``members``; ``reporter`` of a device, ``federation`` of both    only with ``fidelity = protocol``
between two    ``checkpoint``, ``fingerprint``                                  a run goes on with the same bits
what is found  ``result``, ``baselines``, ``homes``, ``comparison``            ``report``, ``plots``, a ``folder``
=============  ==============================================================  ==================================
"""

from fanlight.simulation.data import Data, of_pictures
from fanlight.simulation.laboratory import simulate
from fanlight.simulation.result import Line, Result
from fanlight.simulation.study import Study, Training

__all__ = ["Data", "Line", "Result", "Study", "Training", "of_pictures", "simulate"]
