"""Django's users and groups, as the other pages look."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from chat.admin.readonly import Listing

admin.site.unregister(get_user_model())
admin.site.unregister(Group)


@admin.register(get_user_model())
class PersonAdmin(UserAdmin, Listing):  # type: ignore[misc]  # which of the two says how pages are made
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    actions = None

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who has chats stays (the database says so too) and is made inactive; no page looks at all of the chats."""
        return super().has_delete_permission(request, obj) and not (obj is not None and obj.chats.exists())


@admin.register(Group)
class PeopleAdmin(GroupAdmin, Listing):  # type: ignore[misc]
    pass
