"""The admin: windows on what is there. Buttons are transitions, with the refusals of the API; rows are never edited.

    readonly.py   what a window is         chats.py      chats, messages, queue, leases
    catalogue.py  providers and models     tokens.py     API tokens

Only the catalogue and the tokens, which no transition touches, can be changed here.
"""

from django.contrib import admin

from chat.admin import catalogue, chats, tokens

admin.site.site_header = admin.site.site_title = "Chatd"
admin.site.index_title = "Chatd"

__all__ = ["catalogue", "chats", "tokens"]
