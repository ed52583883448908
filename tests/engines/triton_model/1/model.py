"""A model for a real Triton: it says the words of its prompt again, one a response, 50 ms apart.

It fails where it is told to, says nothing to "nothing", and notes whom it stopped for. Loaded by Triton's Python backend, whose interpreter is not told where packages are: hence the path.
"""

import os
import sys
import time

sys.path.insert(0, os.environ["ENGINE_SITE_PACKAGES"])

import numpy as np
import triton_python_backend_utils as pb_utils

GAP_S = 0.05


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._say(request, sender)
            except Exception as exc:  # Triton wants it as a response
                sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(str(exc))))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _say(self, request, sender):
        prompt = pb_utils.get_input_tensor_by_name(request, "text_input").as_numpy()[0].decode()
        told = pb_utils.get_input_tensor_by_name(request, "max_tokens")
        limit = 1000 if told is None else int(told.as_numpy()[0])
        if "boom before" in prompt:
            raise RuntimeError("boom before")
        if prompt.split() == ["nothing"]:
            return
        for said, word in enumerate((prompt.split() * 200)[:limit]):
            if request.is_cancelled():
                pb_utils.Logger.log_info(f"nobody listens after {said} words")
                return
            if word == "boom-here":
                raise RuntimeError("boom mid-stream")
            text = np.array([f"{word} ".encode()], dtype=object)
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("text_output", text)]))
            time.sleep(GAP_S)
