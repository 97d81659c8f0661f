"""Dark, calm and without a font from elsewhere."""

import gradio as gr

SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
SYSTEM_MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")
DARK = "_dark"


def dark_theme() -> gr.themes.Base:
    """Gradio's plain theme with its dark values in the place of the light ones, so that no
    setting of a browser makes the page bright in a dark room."""
    theme = gr.themes.Base(
        primary_hue="cyan", neutral_hue="slate", font=SYSTEM_FONTS, font_mono=SYSTEM_MONO
    )
    values = vars(theme)
    for name in [name for name in values if name.endswith(DARK)]:
        if values[name] is not None:
            setattr(theme, name.removesuffix(DARK), values[name])
    return theme.set(body_background_fill="#0b0e11", body_background_fill_dark="#0b0e11")
