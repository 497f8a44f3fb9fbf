// The order is that of a visitor: an empty server, the first run, jobs of every kind, hostile ones, a server that goes away, one with keys.
import { after } from 'node:test';
import { accessible } from './access.mjs';
import { Browser, cleanUp, Server } from './fixture.mjs';
import { hostileOutput } from './hostile.mjs';
import { aJob, deleting, offline } from './job.mjs';
import { keys } from './keys.mjs';
import { playground } from './playground.mjs';
import { serving } from './serving.mjs';

const [server, browser] = await Promise.all([Server.start(), Browser.start()]);
const the = { server, browser };
after(async () => {
  await the.browser.stop();
  await the.server.stop();
  cleanUp();
});
serving(the);
playground(the);
aJob(the);
deleting(the);
hostileOutput(the);
accessible(the);
offline(the);
keys(the); // the last: from then on the server asks for a key
