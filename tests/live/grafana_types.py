"""A TypeScript file that holds a dashboard against Grafana's own published types.

Every object is a literal, so that the compiler refuses keys that Grafana does not have, not only values of a wrong
type. Enums are taken as the plain strings and numbers that a dashboard's JSON has.
"""

import json
import subprocess

HEAD = """import type { Dashboard, Panel, RowPanel } from "@grafana/schema";
IMPORTS
type Plain<T> = unknown extends T ? T : T extends string ? `${T}` : T extends number ? number
  : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""


def typescript(dashboard):
    """The file's text."""
    dashboard = json.loads(json.dumps(dashboard))
    strip_plugin_keys(dashboard)
    shown = [(panel, "RowPanel" if panel["type"] == "row" else "Panel") for panel in dashboard["panels"]]
    kinds = sorted({panel["type"].replace("-", "") for panel, kind in shown if kind == "Panel"})
    imports = "\n".join(f'import type * as {kind} from "./node_modules/@grafana/schema/dist/types/raw/composable/{kind}/panelcfg/x/types.gen";'
                        for kind in kinds)
    parts = [HEAD.replace("IMPORTS", imports), declared("dashboard", 'Omit<Plain<Dashboard>, "panels">', without(dashboard, "panels"))]
    for panel, kind in shown:
        name, own = f"p{panel['id']}", panel["type"].replace("-", "")
        if kind == "RowPanel":
            parts.append(declared(name, "Plain<RowPanel>", panel))
            continue
        config = panel["fieldConfig"]
        parts.append(declared(name, 'Omit<Plain<Panel>, "options" | "fieldConfig" | "targets">',
                              without(panel, "options", "fieldConfig", "targets")))
        parts.append(declared(f"{name}options", f"Plain<Partial<{own}.Options>>", panel.get("options", {})))
        parts.append(declared(f"{name}fields", 'Omit<Plain<NonNullable<Panel["fieldConfig"]>["defaults"]>, "custom">',
                              without(config["defaults"], "custom")))
        if "custom" in config["defaults"]:
            parts.append(declared(f"{name}custom", f"Plain<Partial<{own}.FieldConfig>>", config["defaults"]["custom"]))
    return "\n".join(parts)


def strip_plugin_keys(dashboard):
    """Takes out what Grafana itself writes for its Prometheus plugin and leaves out of its types."""
    for variable in dashboard["templating"]["list"]:
        variable.pop("definition", None)
    for annotation in dashboard["annotations"]["list"]:
        for key in ("expr", "titleFormat", "textFormat"):
            annotation.pop(key, None)


def without(object_, *names):
    return {name: value for name, value in object_.items() if name not in names}


def declared(name, kind, value):
    return f"export const {name}: {kind} = {json.dumps(value)};"


def compile_errors(dashboard, node_folder):
    """What the compiler says against the dashboard: one line each."""
    source = node_folder / "dashboard.ts"
    source.write_text(typescript(dashboard))
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"]
    done = subprocess.run(["node_modules/.bin/tsc", *options, source.name], cwd=node_folder, capture_output=True, text=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines if done.returncode else []
