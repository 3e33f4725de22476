import { complain, find, make, match, say, slot, sure } from "./dom.js";
import { call, upload } from "./server.js";
import { size } from "./formatting.js";

const root = find("artifacts");

export function startArtifacts() {
  const drop = slot(root, "drop");
  const files = find("files");
  files.onchange = () => {
    takeIn([...files.files]);
    files.value = "";
  };
  // accept drops on the whole page; otherwise a file dropped beside the box would replace the page
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    takeIn([...event.dataTransfer.files]);
  });
}

async function takeIn(files) {
  for (const file of files) {
    const line = slot(root, "uploads").appendChild(make("upload-line"));
    const bar = line.querySelector("progress");
    bar.setAttribute("aria-label", `Upload of ${file.name}`);
    say(slot(line, "name"), file.name);
    try {
      await upload(file, (share) => {
        bar.value = share;
        say(slot(line, "share"), share < 1 ? `${Math.floor(share * 100)} % of ${size(file.size)}` : "being checked");
      });
    } catch (error) {
      complain(`cannot upload ${file.name}: ${error.message}`);
    }
    line.remove();
  }
}

export function showArtifacts(state, act, deploy) {
  const artifacts = Object.entries(state.artifacts);
  say(slot(root, "count"), artifacts.length ? String(artifacts.length) : "");
  match(slot(root, "list"), artifacts, "artifact-card", (card, id) => {
    slot(card, "deploy").onclick = () => deploy(state.artifacts[id].artifact_name);
    slot(card, "delete").onclick = () => act(async () => {
      const title = `Delete ${state.artifacts[id].artifact_name}?`;
      if (await sure(title, "The file is removed from the server; downloads of it end in 404.", "Delete")) await call("DELETE", `artifacts/${id}`);
    });
  }, fill);
}

function fill(card, artifact) {
  say(slot(card, "name"), artifact.artifact_name);
  say(slot(card, "size"), size(artifact.size_bytes));
  say(slot(card, "types"), `for ${artifact.device_types.join(", ") || "no device type"}`);
  for (const button of card.querySelectorAll("button")) button.setAttribute("aria-label", `${button.textContent} ${artifact.artifact_name}`);
}
