// Who the worker is, and as whom the gallery reads packages. Both exist before any VM, so that their roles can arrive.

param location string
param name string

resource worker 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${name}-worker'
  location: location
}

resource publisher 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${name}-publisher'
  location: location
}

output workerPrincipalId string = worker.properties.principalId
output publisherId string = publisher.id
output publisherPrincipalId string = publisher.properties.principalId
