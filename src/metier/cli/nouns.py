"""What `metier --help` shows, without loading the operations; a test holds it to the registry."""

SECTIONS = {
    "Things": {
        "node": "Physical and virtual nodes: add, engage, switch, explain.",
        "driver": "Drivers of VM managers and power controllers, and what there is to set.",
        "pool": "Nodes that are in no tier, and what happens to them by itself.",
        "tier": "Tiers: create, allocate, activate, set their targets, explain.",
        "image": "Image versions: import, create, edit, verify, delete.",
        "alert": "What an operator should know about.",
        "event": "The journal: what was decided and seen, and why.",
        "job": "Long work and how far it is.",
        "procedure": "Guided updates of images, and how far they are.",
        "estate": "The VMs of a VMware estate, and what taking each in would need.",
        "token": "Tokens for callers from other machines.",
    },
    "The whole site": {
        "status": "Show how the site is.",
        "matrix": "Show the folders of the image matrix, and the room there.",
        "plan": "Show what is about to be done and what is waited for.",
        "apply": "Make the site as a file says.",
        "export-site": "Write all that plans are made from, for simulating it elsewhere.",
        "simulate": "Let faults and commands befall a copy of the site in memory, and see what follows.",
    },
    "The controller": {
        "serve": "Run the controller, of this site or of a simulated one.",
        "befall": "Let something happen to the machines of a simulated site.",
        "backup": "Write a copy of all state to standard output.",
        "restore": "Fill an empty state folder from a backup.",
        "login": "Keep the URL and token of a controller on another machine.",
        "demo": "Show Metier's main job with real virtual machines on this machine.",
        "lab": "Run a small data centre on this machine.",
        "completion": "Print the completion script of a shell.",
        "version": "Print the version.",
    },
}
"""Commands by section, each with its line in the help."""

HAND_MADE = frozenset(
    (
        *("estate", "token", "serve", "simulate", "befall", "backup", "restore"),
        *("login", "demo", "lab", "completion", "version"),
    )
)
"""Those that are no operations."""
