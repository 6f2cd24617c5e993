"""The clock that everything due is compared with, and the file that moves it in a demo."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from b24app import clock

SOON = timedelta(seconds=5)


@pytest.fixture
def clock_file(settings, tmp_path):
    settings.CLOCK_FILE = str(tmp_path / "clock")
    return tmp_path / "clock"


def ahead():
    return clock.now() - timezone.now()


def test_without_a_file_nothing_moves(settings):
    settings.CLOCK_FILE = ""
    assert abs(ahead()) < SOON


def test_a_missing_file_moves_nothing(clock_file):
    assert abs(ahead()) < SOON


@pytest.mark.parametrize("text, seconds", [("86400", 86400), ("-3600.5\n", -3600.5), ("", 0)])
def test_a_number_moves_the_clock(clock_file, text, seconds):
    clock_file.write_text(text)
    assert abs(ahead() - timedelta(seconds=seconds)) < SOON


def test_from_an_instant_it_goes_on(clock_file):
    clock_file.write_text("2030-05-01T09:00:00+02:00")
    minute_ago = timezone.now().timestamp() - 60
    os.utime(clock_file, (minute_ago, minute_ago))
    assert abs(clock.now() - datetime(2030, 5, 1, 7, 1, tzinfo=UTC)) < SOON


def test_a_new_text_moves_it_again(clock_file):
    clock_file.write_text("60")
    first = ahead()
    clock_file.write_text("86400")
    assert ahead() - first > timedelta(hours=23)


def test_a_text_without_a_time_is_an_error(clock_file):
    clock_file.write_text("tomorrow")
    with pytest.raises(ValueError, match="tomorrow"):
        clock.now()
