"""What a page costs whoever opens it for the first time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

_COST = """
async () => {
  const kept = type => new Promise(resolve => {
    new PerformanceObserver(list => resolve(list.getEntries())).observe({ type, buffered: true });
    setTimeout(() => resolve([]), 500);
  });
  const [paints, tasks] = await Promise.all([kept("paint"), kept("longtask")]);
  const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  const first = paints.find(entry => entry.name === "first-contentful-paint");
  return {
    parts: Object.fromEntries(loaded.map(entry => [new URL(entry.name).pathname, entry.transferSize])),
    first_paint_ms: first ? first.startTime : null,
    blocked_ms: tasks.reduce((sum, task) => sum + task.duration - 50, 0),
  };
}
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """As the browser has measured it. Blocked is what tasks over 50 ms take beyond that."""

    parts: dict[str, int]  # path → bytes over the network, headers included
    first_paint_ms: float | None
    blocked_ms: float

    def __str__(self) -> str:
        painted = f"first paint after {self.first_paint_ms or 0:.0f} ms, blocked for {self.blocked_ms:.0f} ms"
        return f"{self.transferred_kb:.1f} kB in {len(self.parts)} parts, {painted}"

    @property
    def transferred_kb(self) -> float:
        return sum(self.parts.values()) / 1000


def cost_of(page: Page) -> Cost:
    """Of a page that has just been opened by a browser that knows nothing of the site yet."""
    page.wait_for_load_state("load")
    return Cost(**page.evaluate(_COST))
