"""The template library, a builtin of every template: `{% icon %}`, and filters for numbers, times, tasks and jobs."""

from datetime import datetime

from django import template
from django.templatetags.static import static
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext, pgettext

from b24app import clock
from b24app.bitrix.tasks import Status
from b24app.models import Job, JobItem
from b24app.web.texts import REASONS

register = template.Library()


@register.simple_tag
def icon(name: str, size: str = "") -> SafeString:
    """A picture from static/icons.svg; `size` is "small" or "big". Screen readers skip it, so put a text beside it."""
    classes = f"icon {size}".strip()
    return format_html(
        '<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>', classes, static("icons.svg"), name
    )


@register.filter
def grouped(number: int) -> str:
    """1240 as "1,240", in the reader's language."""
    return formats.number_format(number, use_l10n=True, force_grouping=True)


@register.filter
def reason(code: str) -> str:
    return str(REASONS[JobItem.Code(code)])


@register.filter
def who_and_when(item: JobItem) -> str:
    """Who changed the task and when, or whom to ask: "Ann Lee, Nov 23, 18:00". Empty if unknown."""
    if item.code == JobItem.Code.NOT_PERMITTED:
        return gettext("ask %(name)s") % {"name": item.changed_by} if item.changed_by else ""
    when = moment_words(item.changed_at) if item.changed_at else ""
    return ", ".join(filter(None, [item.changed_by, when]))


@register.filter
def is_overdue(deadline: datetime | None) -> bool:
    return deadline is not None and deadline < clock.now()


@register.filter
def deadline(moment: datetime | None) -> str:
    """A deadline as a chip shows it: "− 7 months", "Nov 30, 18:00", or "No deadline"."""
    if moment is None:
        return gettext("No deadline")
    if is_overdue(moment):
        # Translators: how long ago the deadline passed, as Bitrix24 shows it. The sign is a minus.
        return gettext("− %(time)s") % {"time": timesince(moment, clock.now(), depth=1)}
    return moment_words(moment)


@register.filter
def moment_words(moment: datetime) -> str:
    """A moment in the reader's time zone, with the year only if it is not the current one."""
    local, today = timezone.localtime(moment), timezone.localtime(clock.now())
    if local.year == today.year:
        return formats.date_format(local, pgettext("date format", "M j, H:i"))
    return formats.date_format(local, pgettext("date format", "M j, Y, H:i"))


@register.filter
def is_in_progress(status: int) -> bool:
    return status == Status.IN_PROGRESS


@register.filter
def status_word(status: int) -> str:
    return gettext("In progress") if is_in_progress(status) else gettext("Pending")


@register.filter
def outcome(job: Job) -> str:
    """ "120 deferred · 3 failed · 1 skipped · 7 not started"; parts that are zero are left out."""
    done = gettext("%(n)s returned") if job.kind == Job.Kind.RETURN else gettext("%(n)s deferred")
    parts = [done % {"n": grouped(job.done)}]
    if job.failed:
        parts.append(gettext("%(n)s failed") % {"n": grouped(job.failed)})
    if job.skipped:
        parts.append(gettext("%(n)s skipped") % {"n": grouped(job.skipped)})
    if job.cancelled:
        parts.append(gettext("%(n)s not started") % {"n": grouped(job.cancelled)})
    return " · ".join(parts)
