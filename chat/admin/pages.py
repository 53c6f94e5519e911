"""Pages of a list that may be very long: counted up to a limit, and no page beyond it.

A count of all rows, and an OFFSET into their depth, both read everything before. Who looks for something older than a
few thousand rows searches or filters.
"""

from typing import Any

from django.contrib.admin.views.main import ORDER_VAR
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.views import ChangeList

MOST_ROWS = 2_000


class PagedList(ChangeList):
    def get_ordering(self, request: HttpRequest, queryset: Any) -> Any:
        if self.sortable_by == ():
            self.params.pop(ORDER_VAR, None)  # no header asks for it, but an address can
        return super().get_ordering(request, queryset)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count  # else the page's head offers to show all


class FewPages(Paginator):
    """`count` is exact up to `MOST_ROWS`, and never more."""

    template_name = "admin/chat/pages.html"

    @cached_property
    def count(self) -> int:
        # Without its order a count may take any index; with it, it walks the same few entries that the page shows.
        rows: Any = self.object_list
        return rows.values("pk")[:MOST_ROWS].count()

    @property
    def is_cut(self) -> bool:
        """Whether there may be more rows than the pages show."""
        return self.count >= MOST_ROWS
