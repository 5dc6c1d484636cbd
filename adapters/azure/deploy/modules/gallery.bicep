// The gallery and the VM Application. It reads packages as an identity: shared keys are off, and it cannot use a
// user-delegation SAS.
// https://learn.microsoft.com/azure/virtual-machines/vm-applications-publish-with-managed-identity, read 2026-11

param location string
param name string
param publisherId string

resource gallery 'Microsoft.Compute/galleries@2026-03-03' = {
  name: replace(name, '-', '_')
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${publisherId}': {}
    }
  }
}

resource application 'Microsoft.Compute/galleries/applications@2026-03-03' = {
  parent: gallery
  name: 'spotfsm'
  location: location
  properties: {
    supportedOSType: 'Linux'
  }
}

output galleryName string = gallery.name
output applicationName string = application.name
