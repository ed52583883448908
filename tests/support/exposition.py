"""A scrape of `/metrics`, in Prometheus's text format, to ask sums of."""

from prometheus_client.parser import text_string_to_metric_families


class Exposition:
    """Samples at one moment. `total` adds up all that have the labels asked for."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """0 where there is no such sample."""
        return float(sum(sample.value for sample in self._having(name, labels)))

    def label(self, name: str, label: str, **labels: str) -> set[str]:
        """The values that `label` has among samples that are not 0."""
        return {s.labels[label] for s in self._having(name, labels) if s.value}

    def _having(self, name: str, labels: dict[str, str]) -> list:  # type: ignore[type-arg]  # prometheus_client has no types for samples
        return [
            sample
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
