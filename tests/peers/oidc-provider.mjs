// An OpenID provider with keys that change when it is told so. It prints `ready`, and after each SIGHUP `rotated`: from
// then on it publishes, and signs with, a new key alone.
//
// node oidc-provider.mjs MODULE PORT
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const [module, port] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(module));
const issuer = `http://127.0.0.1:${port}`;

const key = () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'ES256' };
};

const provider = () => {
  const made = new Provider(issuer, {
    jwks: { keys: [key()] },
    clients: [{
      client_id: 'shop',
      client_secret: 'secret',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: 'ES256',
    }],
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    scopes: ['read', 'write'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context, resource) => ({
          audience: resource,
          scope: 'read write',
          accessTokenFormat: 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  return made.callback();
};

let current = provider();
process.on('SIGHUP', () => {
  current = provider();
  console.log('rotated');
});
createServer((request, response) => current(request, response)).listen(port, '127.0.0.1', () => console.log('ready'));
