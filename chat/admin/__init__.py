"""The admin: windows on what is there. Buttons are transitions, with the refusals of the API; rows are never edited.

    start_page.py  how it all goes, in plots         figures.py     what they are drawn from
    chats.py       chats                             history.py     messages, queue
    buttons.py     what may be done to a chat        pressing.py    to one, to many, and what is then said
    workers.py     leases, worker processes          schedule.py    the beat schedule
    intervals.py   how often there is to choose from  retention.py  how long chats are kept
    catalogue.py   providers and models              tokens.py      API tokens
    people.py      users and groups                  finding.py     searches and filters that an index answers
    readonly.py    what a window is                  pages.py       pages of lists that may be very long

The catalogue, the tokens, the users, the schedule and the retention, which no transition touches, can be changed here.
Which page the menu shows is in `config/admin_site.py`.
"""

from django.contrib import admin

from chat.admin import catalogue, chats, history, intervals, people, retention, schedule, tokens, workers

admin.site.index_title = "How it all goes"

__all__ = ["catalogue", "chats", "history", "intervals", "people", "retention", "schedule", "tokens", "workers"]
