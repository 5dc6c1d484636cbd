// One version of the VM Application. A version never changes: publish a new one, and several live side by side.
targetScope = 'resourceGroup'

@description('The region of the gallery, and the first that the version is replicated to.')
param location string = resourceGroup().location

param galleryName string
param applicationName string

@description('Three numbers, such as 0.1.0.')
param version string

@description('The address of the package blob, without a SAS: the gallery reads it as its own identity.')
param packageUrl string

@description('Runs in the directory that the package was downloaded into, as /bin/bash would.')
@maxLength(4096)
param installCommand string

@maxLength(4096)
param updateCommand string

@maxLength(4096)
param removeCommand string

@description('What the package is called on the VM. Without it, the application name with no extension.')
param packageFileName string = 'package.tar.gz'

@description('Regions of VMs that will install it.')
param regions array = [
  location
]

resource gallery 'Microsoft.Compute/galleries@2026-03-03' existing = {
  name: galleryName
}

resource application 'Microsoft.Compute/galleries/applications@2026-03-03' existing = {
  parent: gallery
  name: applicationName
}

resource applicationVersion 'Microsoft.Compute/galleries/applications/versions@2026-03-03' = {
  parent: application
  name: version
  location: location
  properties: {
    publishingProfile: {
      source: {
        mediaLink: packageUrl
      }
      manageActions: {
        install: installCommand
        update: updateCommand
        remove: removeCommand
      }
      settings: {
        packageFileName: packageFileName
        scriptBehaviorAfterReboot: 'None'
      }
      targetRegions: [
        for region in regions: {
          name: region
          regionalReplicaCount: 1
        }
      ]
    }
  }
}

output versionId string = applicationVersion.id
