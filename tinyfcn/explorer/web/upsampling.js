"use strict";
// The upsampling room: max pooling, and five ways from the pooled map back to a larger one.

ROOMS.upsampling = {
  title: "Upsampling",
  looks: { at: ["", /^(map-)?[a-z]+(-back)?\.\d+$/], code: ["", /^\w+$/] },
  build(page, main) {
    const room = new Groups(page, main, { forward: "Forward \nx → y → u", gradient: "Gradient \ngu → gy → gx" });
    return (answer) => room.draw(answer);
  },
};
