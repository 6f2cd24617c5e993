"""The bucket of requests uses the clock of the database, for each database."""

RESERVE = """
from b24app.portals import outgoing
from b24app.bitrix.errors import TooManyRequests
from b24app.models import Portal
portal = Portal.objects.create(member_id="a" * 32, endpoint="https://acme.example/rest/")
def reserve(times):
    try:
        for taken in range(times):
            outgoing.reserve_request(portal, outgoing.FULL_SHARE)
    except TooManyRequests as error:
        print(taken, error.delay)
outgoing.fill_bucket(portal)
reserve(1)
full = Portal.objects.get()
Portal.objects.update(bucket_at=full.bucket_at - 10)
reserve(60)
"""


def test_a_full_bucket_drains(app):
    app.settings["TIME_SCALE"] = "1"
    (none, wait), (some, _) = (line.split() for line in app.python(RESERVE).splitlines())
    assert (none, 0 < float(wait) <= 0.5) == ("0", True)
    assert 20 <= int(some) < 30  # the bucket drains two a second, also during the test
