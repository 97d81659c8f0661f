"""Sends live video over WebRTC by aiortc, for `bench/view.py --webrtc`.

aiortc encodes the newest frame for each viewer as soon as it has finished the last one, at its
default bit rates (VP8 up to 1.5 Mbit/s, H.264 up to 3).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Protocol

import cv2
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from av import VideoFrame
from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from qlumen.realtime.pixels.arrays import Image

FRAMES_PER_S = 25
CLOCK_HZ = 90_000
"""Clock of RTP time stamps for video (RFC 3551, 5)."""
PAGE = """<body style="background:#000"><video autoplay muted playsinline width="960"></video>
<script>
const codec = "video/" + new URLSearchParams(location.search).get("codec");
const peer = new RTCPeerConnection(), video = document.querySelector("video");
const all = RTCRtpReceiver.getCapabilities("video").codecs;
peer.addTransceiver("video", {direction: "recvonly"})
  .setCodecPreferences(all.filter(({mimeType}) => mimeType === codec));
peer.ontrack = ({track, receiver}) => {
  receiver.jitterBufferTarget = 0;
  video.srcObject = new MediaStream([track]);
};
peer.onicegatheringstatechange = async () => {
  if (peer.iceGatheringState !== "complete") return;
  const {type, sdp} = peer.localDescription;
  const answer = await fetch("/bench/offer", {method: "POST", body: JSON.stringify({type, sdp}),
    headers: {"Content-Type": "application/json"}});
  await peer.setRemoteDescription(await answer.json());
};
peer.setLocalDescription();
</script>"""


def encoding(images: Sequence[Image], jpeg_quality: int) -> list[dict[str, Any]]:
    """Measure the processor time of one frame in milliseconds. JPEG is encoded once for all
    viewers, the other codecs once for each viewer."""
    vp8, h264 = Vp8Encoder(), H264Encoder()
    options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    ways: dict[str, Callable[[int], object]] = {
        "JPEG": lambda index: cv2.imencode(".jpg", images[index], options),
        "VP8": lambda index: vp8.encode(_frame(images[index], index)),
        "H264": lambda index: h264.encode(_frame(images[index], index)),
    }
    rows = []
    for name, encode in ways.items():
        before = time.process_time()
        for index in range(len(images)):
            encode(index)
        spent_ms = 1e3 * (time.process_time() - before) / len(images)
        rows.append({"name": f"encoding, {name}", "cpu_ms_a_picture": spent_ms})
    return rows


def _frame(image: Image, index: int) -> VideoFrame:
    frame = VideoFrame.from_ndarray(image, format="bgr24")
    frame.pts, frame.time_base = index * CLOCK_HZ // FRAMES_PER_S, Fraction(1, CLOCK_HZ)
    return frame


class Description(BaseModel):
    """Describes one side of the connection, as SDP."""

    type: str
    sdp: str


class ImageSource(Protocol):
    """Calls `on_image` with each image, from its own thread."""

    on_image: object


class NewestImage(VideoStreamTrack):
    """Gives the newest image when the encoder asks for one."""

    def __init__(self) -> None:
        super().__init__()
        self._loop, self._there = asyncio.get_running_loop(), asyncio.Event()
        self._image: Image | None = None
        self._started_s = time.monotonic()

    def put(self, image: Image) -> None:
        """Set the newest image; any thread may call this."""
        self._image = image.copy()
        self._loop.call_soon_threadsafe(self._there.set)

    async def recv(self) -> VideoFrame:
        await self._there.wait()
        self._there.clear()
        frame = VideoFrame.from_ndarray(self._image, format="bgr24")
        frame.pts = round((time.monotonic() - self._started_s) * CLOCK_HZ)
        frame.time_base = Fraction(1, CLOCK_HZ)
        return frame


def webrtc_routes(source: ImageSource) -> APIRouter:
    """Serve a page with the video, and the route for its offer, to the last viewer only."""
    routes = APIRouter()
    serving: list[RTCPeerConnection] = []

    @routes.get("/bench/webrtc")
    def page() -> HTMLResponse:
        return HTMLResponse(PAGE)

    @routes.post("/bench/offer")
    async def offer(offered: Description) -> Description:
        while serving:
            await serving.pop().close()
        track, peer = NewestImage(), RTCPeerConnection()
        serving.append(peer)
        peer.addTrack(track)
        await peer.setRemoteDescription(RTCSessionDescription(offered.sdp, offered.type))
        await peer.setLocalDescription(await peer.createAnswer())
        source.on_image = track.put
        own = peer.localDescription
        return Description(type=own.type, sdp=own.sdp)

    return routes
