"""A laboratory of thousands of devices in one process: who has what, in which world, attacked by whom."""

from fanlight.simulation.data import Data, of_pictures
from fanlight.simulation.laboratory import simulate
from fanlight.simulation.result import Line, Result
from fanlight.simulation.study import Study, Training

__all__ = ["Data", "Line", "Result", "Study", "Training", "of_pictures", "simulate"]
