"""The embedded broker: kombu's filesystem transport, with messages that appear whole.

Kombu creates a message in the folder that workers poll and writes it afterwards. A worker that looks in between
finds an empty message, and ends (kombu 5.7). Here a message is written under a name that no worker looks for.
"""

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: dict[str, Any], **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{time.time_ns()}_{uuid.uuid4()}"  # read in the order of these names
        folder = Path(self.data_folder_out)
        draft = folder / f"{name}.draft"
        draft.write_text(dumps(payload))
        draft.rename(folder / f"{name}.{queue}.msg")


class Transport(filesystem.Transport):
    Channel = Channel
