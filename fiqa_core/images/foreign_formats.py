"""Formats that are images, or look like images, and are not decoded here: their names, recognised by content."""

import re

_BOX_KINDS = {
    b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"hevx": "HEIC",
    b"heim": "HEIC", b"heis": "HEIC", b"hevm": "HEIC", b"hevs": "HEIC", b"mif1": "HEIF", b"mif2": "HEIF",
    b"msf1": "HEIF", b"miaf": "HEIF", b"jpeg": "HEIF", b"crx ": "Canon raw (CR3)", b"qt  ": "QuickTime video",
    b"jp2 ": "JPEG 2000", b"jpx ": "JPEG 2000", b"jpm ": "JPEG 2000", b"mjp2": "JPEG 2000 video", b"jxl ": "JPEG XL",
}  # fmt: skip
_BEGINNINGS = {
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"II\xbc": "JPEG XR",
    b"8BPS": "Photoshop (PSD)",
    b"%PDF-": "PDF",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"FUJIFILMCCD-RAW": "Fujifilm raw (RAF)",
    b"IIRO": "Olympus raw (ORF)",
    b"IIRS": "Olympus raw (ORF)",
    b"MMOR": "Olympus raw (ORF)",
    b"IIU\0": "Panasonic raw (RW2)",
    b"FOVb": "Sigma raw (X3F)",
    b"\0MRM": "Minolta raw (MRW)",
    b"icns": "Apple icon (ICNS)",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"#?RGBE": "Radiance HDR",
    b"DDS ": "DDS",
    b"qoif": "QOI",
    b"FLIF": "FLIF",
    b"BPG\xfb": "BPG",
    b"gimp xcf": "GIMP (XCF)",
    b"\x01\xda\0": "SGI",
    b"\x01\xda\1": "SGI",
    b"\x59\xa6\x6a\x95": "Sun raster",
    b"\x8aMNG\r\n\x1a\n": "MNG",
    b"\x8bJNG\r\n\x1a\n": "JNG",
    b"AT&TFORM": "DjVu",
    b"SIMPLE  =": "FITS",
    b"\xd7\xcd\xc6\x9a": "Windows metafile",
    b"/* XPM */": "XPM",
    b"\x1aE\xdf\xa3": "Matroska or WebM video",
    b"FLV\1": "Flash video",
    b"\0\0\1\xba": "MPEG video",
    b"\0\0\1\xb3": "MPEG video",
    b"OggS": "Ogg video or sound",
    b"0&\xb2u\x8ef\xcf\x11": "Windows Media video",
}
_SVG = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml|<!--|<!DOCTYPE svg|<svg[\s>])")
_SVG_ROOT = re.compile(rb"<(?:\w+:)?svg[\s>]")
_PNM = re.compile(rb"\AP([1-7])[\s#]")
_PFM = re.compile(rb"\AP[Ff]\s+\d+\s+\d+\s")
_PCX = re.compile(rb"\A\n[\x00\x02-\x05]\x01[\x01\x02\x04\x08]")
_ICON = re.compile(rb"\A\x00\x00[\x01\x02]\x00[^\x00].", re.DOTALL)
_SEEN = 4096


def foreign_format(data: bytes) -> str | None:
    """The name of the known format that the content shows, or None; called for content that `recognise` does not
    admit."""
    beginning = data[:_SEEN]
    if beginning[4:8] == b"ftyp":
        return _box_format(beginning)
    for magic, name in _BEGINNINGS.items():
        if beginning.startswith(magic):
            return name
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"AVI ":
        return "AVI video"
    if beginning[:4] == b"(\0\0\0" and beginning[12:14] == b"\1\0" and beginning[15:18] == bytes(3):
        return "BMP without its file header"
    if beginning[:4] == b"\1\0\0\0" and beginning[40:44] == b" EMF":
        return "Windows metafile"
    if _ICON.match(beginning):
        return "Windows icon or cursor (ICO, CUR)"
    if _PCX.match(beginning):
        return "PCX"
    if beginning[128:132] == b"DICM":
        return "DICOM"
    if _SVG.match(beginning) and _SVG_ROOT.search(beginning):
        return "SVG"
    if _PNM.match(beginning) or _PFM.match(beginning):
        return "PNM (PBM, PGM, PPM, PAM or PFM)"
    if beginning[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "QuickTime video"
    # The only formats recognised by their end, and by one byte in each of many packets.
    if data[-18:].startswith(b"TRUEVISION-XFILE."):
        return "TGA"
    if len(beginning) > 188 * 4 and all(beginning[at] == 0x47 for at in range(0, 188 * 5, 188)):
        return "MPEG video"
    return None


def _box_format(beginning: bytes) -> str:
    """By the brands of an ISO media file: its own and, where this one is general, the compatible ones."""
    end = min(int.from_bytes(beginning[:4], "big"), len(beginning))
    brands = [beginning[8:12], *(beginning[at : at + 4] for at in range(16, end - 3, 4))]
    names = [_BOX_KINDS[brand] for brand in brands if brand in _BOX_KINDS]
    particular = [name for name in names if name != "HEIF"]
    return (particular or names or ["MP4 video or another ISO media file"])[0]
