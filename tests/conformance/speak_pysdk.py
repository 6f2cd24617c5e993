"""Calls a portal through the vendor's Python library. It runs in its own interpreter, see tests/machine.py.

Standard input: {portal, oauth, client_id, client_secret, access, refresh, calls: [[what, arguments…], …]}.
Standard output: {answers: one per call, access, refresh: the library's token pair at the end}.
"""

import json
import sys

from b24pysdk import BitrixApp, BitrixToken
from b24pysdk.api.requesters import BitrixOAuthRequester


def main():
    wish = json.load(sys.stdin)
    # The library has the authorization server as constants.
    BitrixOAuthRequester._OAUTH_TOKEN_URL = f"https://{wish['oauth']}/oauth/token/"
    BitrixOAuthRequester._APP_INFO_URL = f"https://{wish['oauth']}/rest/app.info/"
    app = BitrixApp(client_id=wish["client_id"], client_secret=wish["client_secret"])
    token = BitrixToken(domain=wish["portal"], auth_token=wish["access"], refresh_token=wish["refresh"], bitrix_app=app)
    answers = [speak(token, *call) for call in wish["calls"]]
    json.dump({"answers": answers, "access": token.auth_token, "refresh": token.refresh_token}, sys.stdout)


def speak(token, what, *arguments):
    if what == "refresh":
        return token.refresh_and_set_oauth_token()
    try:
        return {"method": token.call_method, "batch": token.call_batch, "list": token.call_list}[what](*arguments)
    except Exception as error:
        return {"raised": type(error).__name__}


main()
