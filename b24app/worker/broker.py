"""The embedded broker: kombu's filesystem transport, with messages that appear complete.

Kombu creates an empty file in the folder that workers poll, and then writes the message into it. A worker that reads
the file in between finds an empty message and ends (kombu 5.7). So we write the message under a name that workers
ignore, and then rename the file.
"""

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: dict[str, Any], **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{time.time_ns()}_{uuid.uuid4()}"  # workers read the files in the order of their names
        folder = Path(self.data_folder_out)
        draft = folder / f"{name}.draft"
        draft.write_text(dumps(payload))
        draft.rename(folder / f"{name}.{queue}.msg")


class Transport(filesystem.Transport):
    Channel = Channel
