"""The options of a Beam job. The pipeline's settings are among them, so that Dataflow's console shows them."""

import argparse
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.config import PipelineConfig
from pipeline.settings import Value, settings_of


class DatasetOptions(PipelineOptions):
    """Tells Beam the names of the settings. Beam collects the names from all subclasses of PipelineOptions.

    Nothing is read from these options: the steps of the job have the PipelineConfig. Their defaults are None, because
    Beam leaves out options that have their default, and shows all others.
    """

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        for setting in settings_of(PipelineConfig):
            parser.add_argument(f"--{setting.name}", nargs="*", help=setting.help.replace("%", "%%"))


class JobOptions(PipelineOptions):
    """PipelineOptions that make each view of themselves once. Beam asks for 700 of them, which takes 0.3 seconds.

    All views share the values, so a change of one is seen by the others.
    """

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        pass

    def view_as(self, cls: type[Any]) -> Any:
        """The options as an object of another class.

        Args:
            cls: a subclass of PipelineOptions.
        """
        views = self.__dict__.setdefault("_views", {})  # other attributes would be options
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]


def option_values(config: PipelineConfig) -> dict[str, Value | list[str]]:
    """The values of all settings, by their names, as PipelineOptions takes them; JSON has lists instead of tuples."""
    values = {setting.name: getattr(config, setting.name) for setting in settings_of(config)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
